"""Ten thousand idle connections: what each costs, and whether a good client beside them notices.

Half of them have made one call before and keep their connection alive, half have never sent a byte; those the server
closes come again at once. `idle_conn_kb` is what the memory of `serve` grows by for each, on a fresh server; beside it,
nginx's worker with the same crowd. `good_p99_ratio` is the p99 of a client that makes calls, with the crowd over without,
round by round. The crowd's own work is done only when the good client leaves its core free.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import common
from warm_call import SIDES as CALL_SIDES
from warm_call import Load, running, wait_until_answers

SIDES = Path(__file__).resolve().parent / "sockets_sides"
SERVER_CORE, LOAD_CORE = 0, 1
BODY = b'{"items":[{"id":1,"name":"ember call","x":0.5,"ok":true,"n":0}]}'
GOOD_CONNECTIONS = 8


def request(path: str, key: str | None) -> bytes:
    """One call as bytes."""
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
    if key:
        lines.append(f"Authorization: Bearer {key}")
    lines.append(f"Content-Length: {len(BODY)}")
    return "\r\n".join([*lines, "", ""]).encode() + BODY


@contextlib.contextmanager
def crowd(url: str, count: int, request_file: Path) -> Iterator[dict[str, int]]:
    """The idle clients, all open and used; when they have gone, what happened to them."""
    address = urlsplit(url)
    command = [
        "chrt", "--idle", "0", sys.executable, str(SIDES / "crowd.py"),
        str(address.hostname), str(address.port), str(count), str(request_file),
    ]  # fmt: skip
    told: dict[str, int] = {}
    with subprocess.Popen(
        common.pinned(LOAD_CORE, command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        if process.stdout.readline() != "ready\n":
            sys.exit("the idle clients did not get in")
        yield told
        process.stdin.close()
        told.update(json.loads(process.stdout.readline()))
    if told["open"] != count or told["bad"]:
        sys.exit(f"the idle clients were not served: {told}")


def rss_bytes(pid: int) -> int:
    """Memory that a process holds in RAM."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def growth_kb(pid: int, url: str, count: int, request_file: Path) -> float:
    """What the process's memory grows by for each of the crowd, in KiB."""
    before = rss_bytes(pid)
    with crowd(url, count, request_file):
        return (rss_bytes(pid) - before) / count / 1024


def nginx_growth_kb(folder: Path, count: int) -> float:
    """The same of nginx's one worker."""
    folder.mkdir()
    folder.chmod(0o755)
    port = common.free_port()
    config = (SIDES / "nginx.conf").read_text().replace("@PORT@", str(port))
    config = f"user root;\n{config}" if os.geteuid() == 0 else config
    (folder / "nginx.conf").write_text(config)
    command = ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
    with running(common.pinned(SERVER_CORE, command)) as process:
        url = f"http://127.0.0.1:{port}/"
        wait_until_answers(url, BODY, process)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        sent = folder / "request"
        sent.write_bytes(request("/", None))
        return growth_kb(int(children.split()[0]), url, count, sent)


def main() -> None:
    options = common.options(__doc__, rounds=7, seconds=10, connections=10_000)
    common.need_programs("wrk", "nginx", "taskset")
    count = options.connections
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard < count + 3000:
        sys.exit(f"this benchmark needs {count + 3000} open files for a process: ulimit -Hn")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # the peers inherit it
    with tempfile.TemporaryDirectory(prefix="ember-bench-", dir="/var/tmp") as temporary:
        os.chmod(temporary, 0o755)
        folder = Path(temporary)
        body, sent, data = folder / "body.json", folder / "request", folder / "ember"
        body.write_bytes(BODY)
        with common.ember(data, CALL_SIDES / "ember_app.py", SERVER_CORE) as url:
            path = "/fn/bench-warm-call/echo"
            key = (data / "key").read_text().strip()
            sent.write_bytes(request(path, key))
            load = Load(LOAD_CORE, options.seconds)
            alone = functools.partial(load, url + path, body, GOOD_CONNECTIONS, key)
            alone()  # what calls alone make it grow by is not the crowd's
            common.wait_until_idle(SERVER_CORE)
            grown_kb = growth_kb(int((data / "serve.pid").read_text()), url, count, sent)

            def beside() -> dict[str, float]:
                with crowd(url, count, sent):
                    common.wait_until_idle(SERVER_CORE)
                    return alone()

            samples = common.alternate(
                {"alone": alone, "beside": beside}, options.rounds, SERVER_CORE
            )
        nginx_kb = nginx_growth_kb(folder / "nginx", count)
    ratios = [b["p99_us"] / a["p99_us"] for a, b in zip(samples["alone"], samples["beside"])]
    low, _, high = statistics.quantiles(ratios, n=4)
    common.write(
        "sockets",
        {
            "idle_conn_kb": grown_kb,
            "good_p99_ratio": statistics.median(ratios),
            "good_p99_ratio_low_quartile": low,
            "good_p99_ratio_high_quartile": high,
            "good_p99_us_alone": common.median(samples["alone"], "p99_us"),
            "good_p99_us_beside": common.median(samples["beside"], "p99_us"),
            "nginx_idle_conn_kb": nginx_kb,
        },
        {"rounds": samples, "connections": count},
        {
            "python": sys.version.split()[0],
            "nginx": common.output_of("nginx", "-v"),
            "wrk": common.output_of("wrk", "-v"),
        },
    )


if __name__ == "__main__":
    main()
