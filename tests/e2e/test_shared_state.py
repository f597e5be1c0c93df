"""Dictionaries and queues: what was acknowledged is there, each item has one getter, and who waits
is woken, from the command line, over HTTP, from the SDK and from containers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from conftest import APPS, REPOSITORY, Server, kill, running_server, wait_until
from test_full_disk import FULL, MIB, server_with_disk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server of this file's own: what is shared is its whole state."""
    with running_server() as running:
        yield running


@pytest.fixture(scope="module")
def app(server: Server) -> str:
    if os.geteuid() != 0:
        pytest.skip("containers take root")
    server.cli("deploy", APPS / "shared_state.py")
    return "shared-state"


def python(server: Server, script: str, *arguments: str) -> Any:
    """Runs a script with the SDK; what it prints last, as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", f"import asyncio, json, queue, ember\n{script}", *arguments],
        env=server.environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def names(server: Server, kind: str) -> list[str]:
    return [one["name"] for one in server.json(kind, "list")[f"{kind}s"]]


# --- durable ----------------------------------------------------------------------------------


def test_what_was_acknowledged_survives_a_kill() -> None:
    with running_server() as server:
        server.cli("dict", "create", "kept")
        server.cli("queue", "create", "kept")
        acknowledged: list[int] = []
        down = threading.Event()

        def put_until_down(first: int) -> None:
            number = first
            while not down.is_set():
                try:
                    value = json.dumps(number).encode()
                    entry = server.http("PUT", f"/api/v1/dicts/kept/entry?key={number}", value)
                    item = server.http("POST", "/api/v1/queues/kept/item", value)
                except OSError:
                    return
                if entry.status == item.status == 200:
                    acknowledged.append(number)
                number += 16

        with ThreadPoolExecutor(16) as pool:
            putters = [pool.submit(put_until_down, first) for first in range(16)]
            wait_until("many are acknowledged", lambda: len(acknowledged) > 200)
            kill(server, "serve")
            down.set()
            for putter in putters:
                putter.result()
        server.up()
        keys = python(server, "print(json.dumps(list(ember.Dict.from_name('kept').keys())))")
        assert {str(number) for number in acknowledged} <= set(keys)
        items = python(
            server,
            "q = ember.Queue.from_name('kept')\n"
            "print(json.dumps([q.get(block=False) for _ in range(q.len())]))",
        )
        assert set(acknowledged) <= set(items)
        assert len(items) == len(set(items))
        verdicts = json.loads(server.cli("doctor", "--state", "--json").stdout)["findings"]
        assert [one for one in verdicts if one["verdict"] != "ok"] == []


def test_an_ephemeral_one_goes_when_its_owner_is_killed(server: Server) -> None:
    script = (
        "import ember, sys\n"
        "with ember.Dict.ephemeral() as d, ember.Queue.ephemeral() as q:\n"
        "    d['a'] = 1\n    q.put(1)\n"
        "    print(d.name, q.name, flush=True)\n    sys.stdin.read()\n"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", script], env=server.environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert owner.stdout is not None
    dict_name, queue_name = owner.stdout.readline().split()
    assert dict_name in names(server, "dict")
    owner.send_signal(signal.SIGKILL)
    owner.communicate()
    wait_until("the dict goes", lambda: dict_name not in names(server, "dict"), timeout_s=120)
    wait_until("the queue goes", lambda: queue_name not in names(server, "queue"))


def test_an_ephemeral_one_goes_with_its_block(server: Server) -> None:
    name = python(
        server,
        "with ember.Queue.ephemeral() as q:\n"
        "    q.put_many(range(5))\n    assert q.get_many(9) == [0, 1, 2, 3, 4]\n"
        "print(json.dumps(q.name))",
    )
    assert name not in names(server, "queue")


# --- queues -----------------------------------------------------------------------------------


def test_a_thousand_getters_and_putters_at_once_share_each_item_once(server: Server) -> None:
    got = python(
        server,
        """
async def main():
    q = ember.Queue.from_name("crowd", create_if_missing=True)
    getters = [asyncio.create_task(q.get.aio(timeout=120)) for _ in range(1000)]
    await asyncio.gather(*(q.put.aio(n) for n in range(1000)))
    print(json.dumps(await asyncio.gather(*getters)))
    assert q.len() == 0

asyncio.run(main())
""",
    )
    assert sorted(got) == list(range(1000))


def test_a_getter_that_leaves_leaves_its_item_to_the_next(server: Server) -> None:
    got = python(
        server,
        """
async def main():
    q = ember.Queue.from_name("leavers", create_if_missing=True)
    leavers = [asyncio.create_task(q.get.aio()) for _ in range(50)]
    stayer = asyncio.create_task(q.get.aio(timeout=120))
    await asyncio.sleep(0.2)
    for leaver in leavers:
        leaver.cancel()
    await asyncio.gather(*leavers, return_exceptions=True)
    await q.put_many.aio([1, 2, 3])
    print(json.dumps([await stayer, await q.get_many.aio(9)]))

asyncio.run(main())
""",
    )
    assert got == [1, [2, 3]]


def test_a_getter_waits_for_so_long_and_no_longer(server: Server) -> None:
    python(
        server,
        """
q = ember.Queue.from_name("slow", create_if_missing=True)
for get in (lambda: q.get(timeout=0.2), lambda: q.get_many(3, timeout=0), lambda: q.get(timeout=0)):
    try:
        get()
        raise SystemExit("it got something")
    except queue.Empty:
        pass
assert q.get(block=False) is None and q.get_many(3, block=False) == []
print("true")
""",
    )


def test_partitions_are_queues_of_their_own(server: Server) -> None:
    python(
        server,
        """
q = ember.Queue.from_name("parts", create_if_missing=True)
for n in range(6):
    q.put(n, partition=("even", "odd")[n % 2])
q.put("none")
assert q.len() == 1 and q.len(partition="odd") == 3 and q.len(total=True) == 7
assert list(q.iterate(partition="odd")) == [1, 3, 5]
assert q.get_many(2, partition="odd") == [1, 3] and q.get(partition="even") == 0
assert q.get(block=False, partition="other") is None
q.clear(partition="even")
assert q.len(total=True) == 2
q.put("passing", partition="short", partition_ttl=0.001)
while q.len(partition="short"):
    pass
assert q.get(partition="short", block=False) is None
q.clear(all=True)
assert q.len(total=True) == 0
print("true")
""",
    )


def test_a_full_partition_takes_nothing_until_something_is_taken(server: Server) -> None:
    python(
        server,
        """
import threading
q = ember.Queue.from_name("full", create_if_missing=True)
q.put_many(range(100_000))
for refused in (lambda: q.put(1, block=False), lambda: q.put(1, timeout=0.1)):
    try:
        refused()
        raise SystemExit("it was put")
    except queue.Full as error:
        assert "100000" in str(error), error
q.put(1, partition="other", block=False)
putter = threading.Thread(target=q.put, args=("last",))
putter.start()
assert q.get() == 0
putter.join()
assert q.len() == 100_000
q.delete()
print("true")
""",
    )


# --- dictionaries -----------------------------------------------------------------------------


def test_a_dict_takes_any_key_and_pages_through_its_entries(server: Server) -> None:
    python(
        server,
        """
d = ember.Dict.from_name("pages", create_if_missing=True)
keys = ["", "a/b?c&d=e+f %20", "!x", "\\0", "\\u00fc", "\\ud800", 1, 1.0, True, None, b"b", ("t", (1,)),
        frozenset({"a", "b"}), -(2**70)]
for number, key in enumerate(keys):
    d[key] = number
assert len(d) == len(keys)
for number, key in enumerate(keys):
    assert d[key] == number and key in d, key
assert {(type(k), k) for k in d.keys()} == {(type(k), k) for k in keys}
assert d.pop("!x") == 2 and d.pop("!x", None) is None and "!x" not in d
d.update({n: n * n for n in range(2500)}, more="words")
assert d.len() == len(keys) - 1 + 2499 + 1  # 1 was there
assert dict(d.items())[49] == 2401
first = next(d.keys())
async def all_of_them():
    return [value async for value in d.values.aio()]
assert len(asyncio.run(all_of_them())) == len(d)
try:
    d["x" * 3000] = 1
    raise SystemExit("it was put")
except ember.exception.InvalidArgumentError:
    pass
d.clear()
assert len(d) == 0 and list(d) == []
print("true")
""",
    )


def test_one_of_many_takes_the_lock(server: Server) -> None:
    winners = python(
        server,
        """
async def main():
    d = ember.Dict.from_name("locks", create_if_missing=True)
    puts = await asyncio.gather(*(d.put.aio("lock", n, skip_if_exists=True) for n in range(100)))
    pops = await asyncio.gather(*(d.pop.aio("lock", None) for n in range(100)))
    print(json.dumps([puts.index(True), sum(puts), [p for p in pops if p is not None]]))

asyncio.run(main())
""",
    )
    assert winners[1] == 1
    assert winners[2] == [winners[0]]


def test_large_values_come_back_whole_and_larger_ones_are_refused(server: Server) -> None:
    python(
        server,
        """
d = ember.Dict.from_name("large", create_if_missing=True)
value = bytes(range(256)) * (40 << 12)
d["forty"] = value
assert d["forty"] == value
d["most"] = bytes((64 << 20) - 64)
assert len(d["most"]) == (64 << 20) - 64
q = ember.Queue.from_name("large", create_if_missing=True)
for put in (lambda: d.put("k", bytes(65 << 20)), lambda: q.put(bytes(2 << 20))):
    try:
        put()
        raise SystemExit("it was put")
    except ember.exception.PayloadTooLargeError:
        pass
d.delete()
print("true")
""",
    )


def test_curl_speaks_to_both(server: Server) -> None:
    assert server.http("POST", "/api/v1/dicts", {"name": "web"}).status == 200
    assert server.http("POST", "/api/v1/dicts", {"name": "web"}).status == 409
    put = server.http("PUT", "/api/v1/dicts/web/entry?key=a", [1, 2])
    assert put.document == {"put": 1}
    assert server.http("GET", "/api/v1/dicts/web/entry?key=a").document == [1, 2]
    assert python(server, "print(json.dumps(ember.Dict.from_name('web')['a']))") == [1, 2]
    assert server.http("DELETE", "/api/v1/dicts/web/entry?key=a").document == [1, 2]
    assert server.http("GET", "/api/v1/dicts/web/entry?key=a").code == "not_found"
    assert server.http("PUT", "/api/v1/dicts/web/entry", [1]).code == "invalid_argument"
    assert server.http("PUT", "/api/v1/dicts/web/entry?key=%ff", [1]).code == "invalid_argument"
    server.http("POST", "/api/v1/queues", {"name": "web"})
    assert server.http("POST", "/api/v1/queues/web/take").code == "not_found"
    with ThreadPoolExecutor(1) as pool:
        taken = pool.submit(server.http, "POST", "/api/v1/queues/web/take?wait_ms=60000")
        server.http("POST", "/api/v1/queues/web/item", {"job": 1})
        assert taken.result().document == {"job": 1}


def test_the_command_line_shows_and_changes_them(server: Server) -> None:
    server.cli("dict", "create", "shown")
    server.cli("dict", "put", "shown", "depth", "12")
    server.cli("dict", "put", "shown", "name", "north mole")
    server.cli("dict", "put", "shown", "(1, 2)", "[true]", "--literal")
    assert server.cli("dict", "get", "shown", "name").stdout == "north mole\n"
    assert server.json("dict", "get", "shown", "(1, 2)", "--literal") == {"value": [True]}
    rows = server.json("dict", "items", "shown")["items"]
    assert {row["key"]: row["value"] for row in rows} == {
        "depth": 12, "name": "north mole", "(1, 2)": [True],
    }  # fmt: skip
    assert "north mole" in server.cli("dict", "items", "shown", "--limit", "3").stdout
    assert "no key" in server.cli("dict", "get", "shown", "width", status=2).stderr
    assert "ember dict create none" in server.cli("dict", "get", "none", "a", status=2).stderr
    server.cli("dict", "clear", "shown")
    (row,) = (one for one in server.json("dict", "list")["dicts"] if one["name"] == "shown")
    assert (row["entries"], row["size_bytes"]) == (0, 0)
    server.cli("dict", "delete", "shown")
    assert "shown" not in server.cli("dict", "list").stdout

    server.cli("queue", "create", "shown")
    server.cli("queue", "put", "shown", '{"page": 1}')
    server.cli("queue", "put", "shown", "two", "--partition", "p")
    assert server.cli("queue", "len", "shown").stdout == "2\n"
    assert server.json("queue", "len", "shown", "--partition", "p")["items"] == 1
    (item,) = server.json("queue", "peek", "shown")["items"]
    assert item["value"] == {"page": 1}
    assert "two" in server.cli("queue", "peek", "shown", "--partition", "p").stdout
    server.cli("queue", "clear", "shown", "--partition", "p")
    assert server.cli("queue", "len", "shown").stdout == "1\n"
    server.cli("queue", "delete", "shown")


def test_what_only_code_could_rebuild_is_not_rebuilt_to_be_shown(server: Server) -> None:
    python(
        server,
        "import os\n"
        "class Bomb:\n    def __reduce__(self): return os.system, ('touch /tmp/ember-bomb',)\n"
        "ember.Dict.from_name('bombs', create_if_missing=True)['b'] = Bomb()\nprint('true')",
    )
    assert "a pickle of" in server.cli("dict", "items", "bombs").stdout
    assert "a pickle of" in server.cli("dict", "get", "bombs", "b").stdout
    assert not os.path.exists("/tmp/ember-bomb")


# --- in containers ----------------------------------------------------------------------------


def test_two_containers_share_a_dict(server: Server, app: str) -> None:
    assert server.result(app, "remember", key="depth", value=12) == [False, True, 2]
    assert server.result(app, "recall", key="depth") == [
        12, {"nested": 12}, "none", "KeyError('missing')",
    ]  # fmt: skip
    assert server.json("dict", "get", "shared-counts", "depth") == {"value": 12}


def test_a_container_waits_for_an_item(server: Server, app: str) -> None:
    assert server.result(app, "wait_for_job", timeout=0.1) == "empty"
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(server.result, app, "wait_for_job")
        server.cli("queue", "put", "shared-jobs", '{"page": 3}')
        assert waiting.result() == {"page": 3}


def test_a_get_that_is_cancelled_in_a_container_takes_nothing(server: Server, app: str) -> None:
    assert server.result(app, "wait_as_task", patience=0.2) == ["mine", None]
    assert server.result(app, "wait_in_own_loop", patience=0.2) == ["own", None]


def test_a_container_that_is_killed_while_it_waits_takes_nothing(server: Server, app: str) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(server.call, app, "wait_for_job")

        def busy() -> list[str]:
            rows = [row for row in server.containers(app) if row["function"] == "wait_for_job"]
            return [row["container_id"] for row in rows if row["inputs"]]

        wait_until("it waits", busy)
        server.cli(
            "call", "cancel", server.json("call", "list", "--app", app)["calls"][0]["call_id"]
        )
        assert waiting.result().code == "cancelled"
    server.cli("queue", "put", "shared-jobs", "1")
    assert server.result(app, "wait_for_job", timeout=30) == 1


def test_handles_are_arguments(server: Server, app: str) -> None:
    results = python(
        server,
        """
with ember.Queue.ephemeral() as source, ember.Dict.ephemeral() as results:
    source.put_many(range(40))
    double_all = ember.Function.from_name("shared-state", "double_all")
    done = list(double_all.starmap([(source, results)] * 4))
    print(json.dumps([sum(done), sorted(results.items())]))
""",
    )
    assert results == [40, [[n, 2 * n] for n in range(40)]]


def test_an_ephemeral_one_of_a_container_goes_with_its_block(server: Server, app: str) -> None:
    name, items = server.result(app, "make_ephemeral")
    assert items == [["a", 1], ["b", 2]]
    assert name not in names(server, "dict")


def test_the_example_reads_each_page_once(server: Server) -> None:
    done = server.cli("run", REPOSITORY / "examples" / "crawl.py", "--workers", "2")
    assert "63 pages" in done.stdout


# --- trouble ----------------------------------------------------------------------------------


def test_a_full_disk_refuses_a_put_and_keeps_what_is_there(data: Path) -> None:
    with server_with_disk(data, "serve", 24 * MIB) as (server, disk):
        server.cli("dict", "create", "d")
        server.http("PUT", "/api/v1/dicts/d/entry?key=a", [1])
        disk.fill()
        answer = server.http("PUT", "/api/v1/dicts/d/entry?key=b", bytes(8 * MIB))
        assert (answer.status, answer.code) == (507, "storage_failed")
        assert FULL in answer.message
        typed = python(
            server,
            "try:\n    ember.Dict.from_name('d')['b'] = bytes(8 << 20)\n"
            "except ember.exception.StorageFailedError as error:\n    print(json.dumps(str(error)))",
        )
        assert FULL in typed
        assert server.http("GET", "/api/v1/dicts/d/entry?key=a").document == [1]
        disk.free()
        assert server.http("PUT", "/api/v1/dicts/d/entry?key=b", [2]).status == 200


def test_a_name_that_cannot_be_is_refused(server: Server) -> None:
    for name in ("", "a/b", "x" * 64):
        assert server.http("POST", "/api/v1/queues", {"name": name}).status == 400
    answer = server.http("POST", "/api/v1/queues", {"name": "bad", "size": 1})
    assert (answer.status, answer.code) == (400, "invalid_argument")
