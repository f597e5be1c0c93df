"""Ten thousand idle connections: what each costs, and whether a good client beside them notices.

Half of them have made one call before and keep their connection alive, half have never sent a byte; those the server
closes come again at once. `idle_conn_kb` is what the memory of `serve` grows by for each, once it has served; beside it,
nginx's worker with the same crowd. `good_p99_ratio` is the p99 of a client that makes one call after the other, with the
crowd over without, round by round; each call counts once, however long it took (wrk adds those that it would have made
meanwhile). The crowd's own work is done only when the good client leaves its core free.
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

from warm_call import SIDES as CALL_SIDES

from bench import common

SIDES = Path(__file__).resolve().parent / "sockets_sides"
SERVER_CORE, LOAD_CORE = 0, 1
BODY = b'{"items":[{"id":1,"name":"ember call","x":0.5,"ok":true,"n":0}]}'


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


def growth_kib(pid: int, url: str, count: int, request_file: Path) -> float:
    """What the process's memory grows by for each of the crowd, in KiB."""
    before = common.rss_bytes(pid)
    with crowd(url, count, request_file):
        return (common.rss_bytes(pid) - before) / count / 1024


def nginx_growth_kib(folder: Path, count: int) -> float:
    """The same of nginx's one worker."""
    folder.mkdir()
    folder.chmod(0o755)
    port = common.free_port()
    config = (SIDES / "nginx.conf").read_text().replace("@PORT@", str(port))
    config = f"user root;\n{config}" if os.geteuid() == 0 else config
    (folder / "nginx.conf").write_text(config)
    command = ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
    with common.running(common.pinned(SERVER_CORE, command)) as process:
        url = f"http://127.0.0.1:{port}/"
        common.wait_until_answers(url, BODY, process)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        sent = folder / "request"
        sent.write_bytes(common.call_request("/", None, BODY))
        common.Caller(url).tail_us(sent.read_bytes(), 2.0)  # as with `serve`
        return growth_kib(int(children.split()[0]), url, count, sent)


def main() -> None:
    options = common.options(__doc__, rounds=7, seconds=10.0, connections=10_000)
    common.need_programs("nginx", "taskset", "chrt")
    count = options.connections
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard < count + 3000:
        sys.exit(f"this benchmark needs {count + 3000} open files for a process: ulimit -Hn")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # the peers inherit it
    os.sched_setaffinity(0, {LOAD_CORE})
    with tempfile.TemporaryDirectory(prefix="ember-bench-", dir="/var/tmp") as temporary:
        os.chmod(temporary, 0o755)
        folder = Path(temporary)
        sent, data = folder / "request", folder / "ember"
        with common.ember(data, CALL_SIDES / "ember_app.py", SERVER_CORE) as url:
            path = "/fn/bench-warm-call/echo"
            key = (data / "key").read_text().strip()
            sent.write_bytes(common.call_request(path, key, BODY))
            alone = functools.partial(
                common.Caller(url).tail_us, sent.read_bytes(), options.seconds
            )
            alone()  # what calls alone make it grow by is not the crowd's
            common.wait_until_idle(SERVER_CORE)
            grown_kib = growth_kib(int((data / "serve.pid").read_text()), url, count, sent)

            def beside() -> dict[str, float]:
                with crowd(url, count, sent) as told:
                    common.wait_until_idle(SERVER_CORE)
                    sample = alone()
                return {**sample, "reopened": told["reopened"]}

            samples = common.alternate(
                {"alone": alone, "beside": beside}, options.rounds, SERVER_CORE
            )
        nginx_kib = nginx_growth_kib(folder / "nginx", count)

    def ratios_of(quantile: str) -> list[float]:
        pairs = zip(samples["alone"], samples["beside"])
        return [beside[quantile] / alone[quantile] for alone, beside in pairs]

    ratios = ratios_of("p99_us")
    low, _, high = statistics.quantiles(ratios, n=4)
    common.write(
        "sockets",
        {
            "idle_conn_kb": grown_kib,
            "good_p99_ratio": statistics.median(ratios),
            "good_p99_ratio_low_quartile": low,
            "good_p99_ratio_high_quartile": high,
            "good_p999_ratio": statistics.median(ratios_of("p999_us")),
            "good_p99_us_alone": common.median(samples["alone"], "p99_us"),
            "good_p99_us_beside": common.median(samples["beside"], "p99_us"),
            "nginx_idle_conn_kb": nginx_kib,
        },
        {"rounds": samples, "connections": count},
        {
            "python": sys.version.split()[0],
            "nginx": common.output_of("nginx", "-v"),
        },
    )


if __name__ == "__main__":
    main()
