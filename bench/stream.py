"""A thousand streams at once, ten items a second each, through the whole of Ember, beside a bare StreamingResponse.

`added_p99_ms` is from an item's yield in the container to its arrival at the client, over all items of a round;
`first_item_p50_ms` is from the request to the first item, of clients that come at moments of their own; `stop_p99_ms` is
from a client's leaving to the producer's `finally`. All streams of a side are in one process, on its event loop: on
Ember in one container with `@ember.concurrent(max_inputs=1000)`, the peer under uvicorn with uvloop and httptools. The
server's side has one core, the client, one process too, the other.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench import common

SIDES = Path(__file__).resolve().parent / "stream_sides"
PEERS = ["starlette==1.10.0", "uvicorn[standard]==0.54.0"]
SERVER_CORE, CLIENT_CORE = 0, 1
TOLD = ("added_p99_ms", "added_p50_ms", "first_item_p50_ms", "stop_p99_ms", "items_per_s")


@contextlib.contextmanager
def starlette(python: Path) -> Iterator[str]:
    """The peer, listening: the URL of its streams."""
    port = common.free_port()
    command = [str(python), "-m", "uvicorn", "starlette_app:app", "--port", str(port)]
    command += ["--loop", "uvloop", "--http", "httptools", "--no-access-log"]
    command += ["--log-level", "critical", "--backlog", "4096"]
    with common.running(common.pinned(SERVER_CORE, command), cwd=SIDES) as process:
        url = f"http://127.0.0.1:{port}/ticks"
        common.wait_until_answers(url, b'{"stream": -1}', process)
        yield url


def view(url: str, key: str | None, streams: int, seconds: float) -> dict[str, float]:
    """One round: what the viewers saw."""
    command = [sys.executable, str(SIDES / "viewers.py"), url, str(streams), f"{seconds:g}"]
    command += [key] if key else []
    done = subprocess.run(common.pinned(CLIENT_CORE, command), capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"the viewers of {url} failed: {done.stderr or done.stdout}")
    return json.loads(done.stdout)


def main() -> None:
    options = common.options(__doc__, rounds=5, seconds=5.0, streams=1000)
    common.need_programs("taskset")
    if (os.cpu_count() or 1) < 2:
        sys.exit("this benchmark needs two cores: one for the servers, one for the client")
    python = common.peer_python("starlette", PEERS)
    with contextlib.ExitStack() as stack:
        temporary = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="ember-bench-", dir="/var/tmp")
        )
        data = Path(temporary)
        data.chmod(0o755)
        base = stack.enter_context(common.ember(data, SIDES / "ember_app.py", SERVER_CORE))
        ours, key = f"{base}/fn/bench-stream/ticks", (data / "key").read_text().strip()
        peer = stack.enter_context(starlette(python))
        sides = {
            "ember": functools.partial(view, ours, key, options.streams, options.seconds),
            "starlette": functools.partial(view, peer, None, options.streams, options.seconds),
        }
        samples = common.alternate(sides, options.rounds, SERVER_CORE)
    figures = {name: common.median(samples["ember"], name) for name in TOLD}
    figures |= {f"starlette_{name}": common.median(samples["starlette"], name) for name in TOLD}
    versions = {
        "python": sys.version.split()[0],
        "ember": common.output_of(common.EMBER, "version"),
        "peers": ", ".join(PEERS),
    }
    raw = {"rounds": samples, "streams": options.streams, "seconds": options.seconds}
    common.write("stream", figures, raw, versions)


if __name__ == "__main__":
    main()
