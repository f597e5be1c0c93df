"""Maps: lazy, streaming, withdrawn when nobody wants them any more; in real containers."""

from __future__ import annotations

import asyncio
import itertools
import os
import pty
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import ember
import pytest
from conftest import APPS, Server, kill, processes_of, wait_until
from ember import _client
from ember._config import Config
from ember.exception import InvalidArgumentError, NotFoundError, UnavailableError
from processes import end_at_once

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

LEAST_WINDOW = 64  # as the server tells it while there are few containers


@pytest.fixture(scope="module")
def deployed(server: Server) -> Server:
    server.cli("deploy", APPS / "maps.py")
    return server


def use(server: Server) -> None:
    """The SDK in this process speaks to that server."""
    _client._shared = _client.Client(Config(server.url, server.key))


@pytest.fixture
def maps(deployed: Server) -> Iterator[Server]:
    before = _client._shared
    use(deployed)
    try:
        yield deployed
    finally:
        _client._shared = before


def function(name: str) -> Any:
    return ember.Function.from_name("maps", name)


def at_work(server: Server, name: str) -> int:
    return sum(row["inputs"] for row in server.containers("maps") if row["function"] == name)


def unended(server: Server) -> int:
    calls = server.http("GET", "/api/v1/calls?app=maps&limit=1000").document["calls"]
    return sum(call["state"] in ("waiting", "running") for call in calls)


def nothing_is_left(server: Server, name: str) -> None:
    wait_until("its inputs are withdrawn", lambda: at_work(server, name) == 0)
    wait_until("no call goes on", lambda: unended(server) == 0)


def runners_of(server: Server, name: str) -> list[int]:
    """The users' Python processes, beneath the first ones of their containers."""
    return [
        process.pid
        for process in processes_of(server.data)
        if process.program.endswith("/python3")
        and process.environment.get("EMBER_FUNCTION") == name
    ]


def variants(server: Server, name: str) -> list[Any]:
    """Of a function, as it is shown."""
    rows = server.http("GET", "/api/v1/apps/maps").document["functions"]
    return next(row["variants"] for row in rows if row["name"] == name)


class Drawn:
    """An iterable that counts what has been drawn of it."""

    def __init__(self, inputs: Any) -> None:
        self._inputs = iter(inputs)
        self.count = 0

    def __iter__(self) -> Iterator[Any]:
        for value in self._inputs:
            self.count += 1
            yield value


def test_results_come_in_the_order_of_the_inputs(maps: Server) -> None:
    assert list(function("double").map(range(1000))) == [2 * number for number in range(1000)]


def test_a_thousand_inputs_use_several_containers(maps: Server) -> None:
    results = list(function("process_id").map(range(1000), order_outputs=False))
    assert len(results) == 1000
    assert len({row["container_id"] for row in maps.containers("maps")}) > 1


def test_parameters_and_options_hold_for_a_map_too(maps: Server) -> None:
    times = ember.Cls.from_name("maps", "Times")
    assert list(times(factor=3).apply.map(range(100))) == [3 * number for number in range(100)]
    add = function("add").with_options(timeout=30)
    assert list(add.map([1, 2], [3, 4])) == [4, 6]
    options = [row["options"] for row in variants(maps, "add")]
    assert options == [{"timeout_ms": 30_000}]


def test_no_inputs_give_no_results(maps: Server) -> None:
    assert list(function("double").map([])) == []
    function("double").for_each(())


def test_several_iterables_are_as_in_the_builtin(maps: Server) -> None:
    add = function("add")
    assert list(add.map([1, 2, 3], itertools.count(10))) == [11, 13, 15]
    assert list(add.map([1], [2], kwargs={"more": 4})) == [7]
    assert list(add.starmap([(1, 2), [3, 4]], kwargs={"more": 1})) == [4, 8]


def test_without_order_the_first_to_end_comes_first(maps: Server) -> None:
    results = function("holds_some").map(range(5), order_outputs=False)
    assert {next(results) for _ in range(4)} == {1, 2, 3, 4}
    results.close()
    nothing_is_left(maps, "holds_some")


def test_what_an_input_raises_comes_at_its_place_and_ends_the_map(maps: Server) -> None:
    results = function("odd_ones_fail").map([0, 2, 4, 5, 6])
    assert [next(results) for _ in range(3)] == [0, 2, 4]
    with pytest.raises(ValueError, match="5 is odd") as raised:
        next(results)
    assert raised.value.__cause__ is not None, "the traceback of the container"
    assert next(results, "over") == "over"
    nothing_is_left(maps, "odd_ones_fail")


def test_what_inputs_raise_is_returned_where_that_is_asked_for(maps: Server) -> None:
    odd_ones_fail = function("odd_ones_fail")
    results = list(odd_ones_fail.map(range(4), return_exceptions=True))
    assert results[::2] == [0, 2]
    assert [str(error) for error in results[1::2]] == ["1 is odd", "3 is odd"]
    odd_ones_fail.for_each(range(4), ignore_exceptions=True)
    with pytest.raises(ValueError, match="is odd"):
        odd_ones_fail.for_each(range(4))


def test_breaking_off_cancels_what_runs_and_what_waits(maps: Server) -> None:
    for value in function("holds_some").map(range(40), order_outputs=False):
        assert value
        wait_until("the first holds on", lambda: at_work(maps, "holds_some") >= 1)
        break
    nothing_is_left(maps, "holds_some")


def test_an_exception_of_the_loop_cancels_too(maps: Server) -> None:
    with pytest.raises(LookupError):
        for _ in function("holds_some").map(range(40), order_outputs=False):
            raise LookupError
    nothing_is_left(maps, "holds_some")


def test_an_infinite_generator_is_drawn_only_as_far_as_there_is_room(maps: Server) -> None:
    drawn = Drawn(itertools.count())
    for number, value in enumerate(function("double").map(drawn)):
        assert value == 2 * number
        if number == 500:
            break
    assert drawn.count <= 501 + 4 * LEAST_WINDOW
    nothing_is_left(maps, "double")


def test_nothing_is_drawn_before_a_result_is_asked_for(maps: Server) -> None:
    drawn = Drawn(range(10))
    results = function("double").map(drawn)
    assert drawn.count == 0
    assert next(results) == 0
    results.close()


def test_while_nothing_is_answered_no_more_than_the_window_is_drawn(maps: Server) -> None:
    drawn = Drawn(itertools.count())
    results = function("holds_on").map(drawn, return_exceptions=True)
    taker = threading.Thread(target=lambda: next(results, None))
    taker.start()
    wait_until("both containers work", lambda: at_work(maps, "holds_on") == 2)
    wait_until("the window is full", lambda: drawn.count == LEAST_WINDOW)
    calls = maps.http("GET", "/api/v1/calls?app=maps&limit=1000").document["calls"]
    for call in calls:
        if call["state"] in ("waiting", "running"):
            maps.http("POST", f"/api/v1/calls/{call['call_id']}/cancel")
    taker.join()
    results.close()
    assert drawn.count <= 2 * LEAST_WINDOW
    nothing_is_left(maps, "holds_on")


def test_inputs_that_raise_end_the_map(maps: Server) -> None:
    def inputs() -> Iterator[int]:
        yield 0
        wait_until("it holds on", lambda: at_work(maps, "holds_on") == 1)
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        list(function("holds_on").map(inputs()))
    nothing_is_left(maps, "holds_on")


def test_an_input_that_cannot_travel_ends_the_map(maps: Server) -> None:
    with pytest.raises(InvalidArgumentError, match="can't be pickled"):
        list(function("holds_on").map([1, threading.Lock()]))
    nothing_is_left(maps, "holds_on")


def test_inputs_may_depend_on_results(maps: Server) -> None:
    """The iterator of inputs waits while a result is on its way: neither stands still."""
    came = threading.Event()

    def inputs() -> Iterator[int]:
        yield 1
        assert came.wait(60)
        yield 2

    results = []
    for value in function("double").map(inputs()):
        results.append(value)
        came.set()
    assert results == [2, 4]


def test_a_full_queue_holds_a_map_up_and_fails_none_of_it(maps: Server) -> None:
    assert list(function("narrow").map(range(200))) == list(range(200))


def test_large_inputs_and_results_pass(maps: Server) -> None:
    sizes = [3_000_000, 0, 5_000_000, 1]
    assert [len(value) for value in function("sized").map(sizes)] == sizes
    words = [bytes([number]) * 9_000_000 for number in range(5)]
    assert list(function("length").map(words)) == [9_000_000] * 5
    assert list(function("length").map([bytes(40_000_000), b"x"])) == [40_000_000, 1]


def test_async_code_maps_too(maps: Server) -> None:
    async def numbers() -> AsyncIterator[int]:
        for number in range(100):
            yield number

    async def main() -> None:
        double = function("double")
        assert [value async for value in double.map.aio(range(300))] == [
            2 * number for number in range(300)
        ]
        assert [value async for value in double.map.aio(numbers())] == [
            2 * number for number in range(100)
        ]
        pairs = function("add").starmap.aio([(1, 2), (3, 4)])
        assert [value async for value in pairs] == [3, 7]
        await double.for_each.aio(numbers())
        async for _ in function("holds_some").map.aio(itertools.count(), order_outputs=False):
            break

    asyncio.run(main())
    nothing_is_left(maps, "holds_some")


def test_a_killed_container_s_inputs_run_again(maps: Server) -> None:
    """Every one has its result, once, though the runners are killed under them."""
    results = function("process_id").map(range(400), order_outputs=False)
    next(results)
    wait_until("several work", lambda: at_work(maps, "process_id") >= 2)
    assert end_at_once(runners_of(maps, "process_id")) >= 1
    assert len(list(results)) == 399


@pytest.mark.parametrize(
    ("name", "arguments", "result"),
    [
        ("maps_inside", [200], [2 * number for number in range(200)]),
        ("maps_inside_async", [200], [2 * number for number in range(200)]),
        ("maps_blocking_the_loop", [200], [2 * number for number in range(200)]),
        ("maps_on_threads", [200], [number + 1 for number in range(200)]),
        ("maps_a_parameter_inside", [100], [5 * number for number in range(100)]),
        ("maps_nothing", [], []),
        ("maps_more_than_fits", [100], list(range(100))),
        ("raises_inside", [], "1 is odd"),
        ("inputs_break_inside", [], "no more"),
    ],
)
def test_functions_map_others(maps: Server, name: str, arguments: list[int], result: Any) -> None:
    assert function(name).remote(*arguments) == result
    nothing_is_left(maps, "holds_on")


def test_breaking_off_in_a_container_cancels_too(maps: Server) -> None:
    assert function("breaks_off_inside").remote() > 0
    nothing_is_left(maps, "holds_some")


def test_a_cancelled_call_s_own_map_is_cancelled(maps: Server) -> None:
    call = function("holds_on_inside").spawn()
    wait_until("its map runs", lambda: at_work(maps, "holds_on") == 2)
    call.cancel()
    nothing_is_left(maps, "holds_on")


def test_what_is_not_there_is_said_at_the_first_result(maps: Server) -> None:
    results = function("nothing").map([1])
    with pytest.raises(NotFoundError, match="double"):
        next(results)
    with pytest.raises(TypeError):
        function("double").map(5)
    with pytest.raises(TypeError):
        function("double").map()


def test_a_script_says_nothing_of_its_own_unless_it_is_asked_to(maps: Server) -> None:
    script = "import ember; print(list(ember.Function.from_name('maps', 'double').map([1, 2]{})))"
    for more, lines in (("", 0), (", progress=True", 1)):
        done = subprocess.run(
            [sys.executable, "-c", script.format(more)],
            env={**maps.environment, "EMBER_URL": maps.url},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stdout == "[2, 4]\n"
        assert len(done.stderr.splitlines()) == lines, done.stderr
    assert "maps.double: 2/2 done" in done.stderr
    assert "$" in done.stderr


def test_at_a_terminal_a_line_says_how_it_goes(maps: Server) -> None:
    script = (
        "import ember\n"
        "double = ember.Function.from_name('maps', 'double')\n"
        "for value in double.starmap([(1, 0.5), (2, 0.5)], progress=True): print(value)\n"
    )
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", script],
        env={**maps.environment, "EMBER_URL": maps.url}, stdout=theirs, stderr=theirs,
    ) as process:  # fmt: skip
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 4096):
                shown += piece
        except OSError:
            pass  # the end of a terminal
    os.close(ours)
    assert process.returncode == 0, shown
    assert b"maps.double: 0/2 done" in shown
    assert b"\r\x1b[K2\r\n" in shown, "what is printed takes the line's place"
    assert shown.splitlines()[-1].startswith(b"maps.double: 2/2 done")


def test_a_server_that_is_killed_in_the_middle_is_named(own_server: Server) -> None:
    server = own_server
    server.cli("deploy", APPS / "maps.py")
    before = _client._shared
    use(server)
    try:
        results = function("double").map(itertools.count())
        assert next(results) == 0
        kill(server, "serve")
        with pytest.raises(UnavailableError, match=r"map of maps\.double.*ember status"):
            for _ in results:
                pass
    finally:
        _client._shared = before
