"""Dynamic batching under an open load: goodput and latency beside LitServe, mosec, BentoML and Ray Serve.

Callers come by a Poisson process, whatever the answers do, at a share of what 20 ms + 1 ms for each input can give at
best with batches of 32 (615 a second). Every side has one worker and the same limits: 32 inputs, 5 ms; BentoML, which
sizes batches by a model of its own and takes the longest latency in the place of the wait, has its default for that.
`goodput` is the share of calls that are answered within 100 ms of when they were due; a peer that does not install,
start or answer is left out, with its error in the JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import random
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import common

SIDES = Path(__file__).resolve().parent / "batching_sides"
FIXED_S, EACH_S, MOST = 0.020, 0.001, 32
CAPACITY = MOST / (FIXED_S + EACH_S * MOST)
LIMIT_S = 0.1
ANSWER_LIMIT_S = 30.0

Url = tuple[str, int, bytes]  # host, port, and a whole request


class Client:
    """Calls over as many connections as are needed at once, kept for the next."""

    def __init__(self, url: Url) -> None:
        self.host, self.port, self.request = url
        self.free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.took_s: list[float] = []  # of good answers
        self.sizes: list[int] = []  # of the batch that each was in
        self.failed = 0

    async def call(self, due_s: float) -> None:
        """One call that was due at a time of the loop's clock."""
        try:
            async with asyncio.timeout(ANSWER_LIMIT_S):
                body = await self._exchange()
            self.took_s.append(asyncio.get_running_loop().time() - due_s)
            size = json.loads(body)
            self.sizes.append(size[0] if isinstance(size, list) else size)
        except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError):
            self.failed += 1

    async def _exchange(self) -> bytes:
        reader, writer = (
            self.free.pop() if self.free else await asyncio.open_connection(self.host, self.port)
        )
        try:
            writer.write(self.request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            body = await _body(head, reader)
            if not head.startswith(b"http/1.1 200"):
                raise ValueError(f"{head!r} {body!r}")
        except BaseException:
            writer.close()
            raise
        self.free.append((reader, writer))
        return body


async def _body(head: bytes, reader: asyncio.StreamReader) -> bytes:
    """The body of an answer, of a told length or in chunks."""
    length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
    if length:
        return await reader.readexactly(int(length))
    body = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readexactly(2)
    return body


async def poisson(url: Url, rate: float, seconds: float, seed: int) -> dict[str, float]:
    """Calls at the rate for a time; what became of those that were due after the first second."""
    client = Client(url)
    loop = asyncio.get_running_loop()
    gaps = random.Random(seed)
    calls: set[asyncio.Task[None]] = set()
    begin_s = due_s = loop.time()
    counted = 0
    while due_s < begin_s + seconds + 1:
        due_s += gaps.expovariate(rate)
        await asyncio.sleep(due_s - loop.time())
        if due_s >= begin_s + 1 and not counted:
            await asyncio.sleep(0)
            client.took_s.clear()
            client.sizes.clear()
            client.failed = 0
        counted += due_s >= begin_s + 1
        task = asyncio.ensure_future(client.call(due_s))
        calls.add(task)
        task.add_done_callback(calls.discard)
    while calls:
        await asyncio.wait(calls)
    for _, writer in client.free:
        writer.close()
    took_s = sorted(client.took_s)
    good = sum(one <= LIMIT_S for one in took_s)
    total = len(took_s) + client.failed
    return {
        "goodput": good / total,
        "p50_ms": 1e3 * took_s[len(took_s) // 2] if took_s else 0.0,
        "p99_ms": 1e3 * took_s[len(took_s) * 99 // 100] if took_s else 0.0,
        "mean_batch": statistics.fmean(1 / n for n in client.sizes) ** -1 if took_s else 0.0,
        "failed": float(client.failed),
        "calls": float(total),
    }


def load(url: Url, share: float, seconds: float, seeds: Iterator[int]) -> dict[str, float]:
    """A round."""
    return asyncio.run(poisson(url, share * CAPACITY, seconds, next(seeds)))


@contextlib.contextmanager
def peer(name: str, folder: Path) -> Iterator[Url]:
    """A peer that answers: where."""
    body = b'{"x": [1]}' if name == "bentoml" else b'{"x": 1}'  # whose calls are lists
    with common.serving_peer(name, SIDES, folder, body) as (port, path):
        yield "127.0.0.1", port, common.call_request(path, None, body)


@contextlib.contextmanager
def ember(folder: Path) -> Iterator[Url]:
    """Ember with one container that is ready."""
    with common.ember(folder, SIDES / "ember_app.py") as url:
        key = (folder / "key").read_text().strip()
        request = common.call_request("/fn/bench-batching/work", key, b'{"x": 1}')
        yield "127.0.0.1", int(url.rpartition(":")[2]), request


def figures(raw: dict[str, dict[str, list[dict[str, float]]]]) -> dict[str, float]:
    """The figures that the project is held to, and the absolutes beside them."""
    result: dict[str, float] = {}
    for share, sides in raw.items():
        peers = [samples for name, samples in sides.items() if name != "ember"]
        for name, samples in sides.items():
            for reading in ("goodput", "p50_ms", "p99_ms", "mean_batch"):
                result[f"{name}_{reading}_{share}"] = common.median(samples, reading)
        if peers:
            best = max(peers, key=lambda samples: common.median(samples, "goodput"))
            result[f"goodput_vs_best_peer_{share}"] = common.ratio(sides["ember"], best, "goodput")
        for reading in ("mean_batch", "p99_ms"):
            result[f"{reading}_{share}"] = common.median(sides["ember"], reading)
    return result


def main() -> None:
    options = common.options(__doc__, rounds=3, seconds=8)
    errors: dict[str, str] = {}
    raw: dict[str, dict[str, list[dict[str, float]]]] = {}
    with (
        tempfile.TemporaryDirectory(prefix="ember-bench-", dir="/var/tmp") as temporary,
        contextlib.ExitStack() as running,
    ):
        os.chmod(temporary, 0o755)
        folder = Path(temporary)
        urls = {"ember": running.enter_context(ember(folder / "ember"))}
        for name in common.SERVING_PEERS:
            with common.leaving_out(name, errors):
                urls[name] = running.enter_context(peer(name, folder))
        for share in (50, 80, 95):
            common.say(f"{share} % of {CAPACITY:.0f} calls a second")
            sides: dict[str, Callable[[], dict[str, float]]] = {
                name: functools.partial(
                    load, url, share / 100, float(options.seconds), iter(range(1, 1000))
                )
                for name, url in urls.items()
            }
            raw[str(share)] = common.alternate(sides, options.rounds, None)
    versions = {"python": sys.version.split()[0]}
    versions |= {name: ", ".join(wanted) for name, wanted in common.SERVING_PEERS.items()}
    common.write("batching", figures(raw), {"rounds": raw, "left_out": errors}, versions)


if __name__ == "__main__":
    main()
