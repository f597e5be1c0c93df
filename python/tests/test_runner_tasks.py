"""What async functions may expect of the asyncio task that they run in."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from conftest import RunnerProcess, input_frame

from ember.runner import _frames as frames

TASKS = {"is_async": True, "max_inputs": 8}


def test_async_contexts_are_apart_and_children_inherit_them(runner: RunnerProcess) -> None:
    runner.start(
        """
    import asyncio
    from contextvars import ContextVar
    seen = ContextVar("seen", default="nothing")

    async def child():
        print("child")
        return [seen.get(), ember.current_call_id()[-1]]

    @app.function()
    async def f(value):
        before = seen.get()
        seen.set(value)
        await asyncio.sleep(0)
        task = asyncio.current_task()
        assert isinstance(task, asyncio.Task)
        return [before, *await asyncio.create_task(child())]
    """,
        **TASKS,
    ).ready()
    runner.send(
        input_frame(1, {"value": "a"}, call_id=1) + input_frame(2, {"value": "b"}, call_id=2)
    )
    assert runner.answer(1).json == ["nothing", "a", "1"]
    assert runner.answer(2).json == ["nothing", "b", "2"]
    assert sorted(runner.logs()) == [(1, 1, "child\n"), (1, 2, "child\n")]


def test_timeouts_and_task_groups_of_user_code_work(runner: RunnerProcess) -> None:
    runner.start(
        """
    import asyncio

    @app.function()
    async def f():
        outcomes = []
        try:
            await asyncio.wait_for(asyncio.sleep(60), 0.01)
        except asyncio.TimeoutError:
            outcomes.append("late")
        outcomes += await asyncio.gather(asyncio.sleep(0.01, "a"), asyncio.sleep(0, "b"))
        if hasattr(asyncio, "timeout"):
            try:
                async with asyncio.timeout(0.01):
                    await asyncio.sleep(60)
            except TimeoutError:
                outcomes.append("later")
        return outcomes
    """,
        **TASKS,
    ).ready()
    for _ in range(3):
        assert runner.call().json[:3] == ["late", "a", "b"]


def test_a_task_that_cancels_itself_harms_no_other_input(runner: RunnerProcess) -> None:
    runner.start(
        """
    import asyncio

    @app.function()
    async def f(cancel):
        await asyncio.sleep(0)
        if cancel:
            asyncio.current_task().cancel()
        else:
            await asyncio.sleep(0)
        return cancel
    """,
        **TASKS,
    ).ready()
    for _ in range(3):
        runner.send(input_frame(1, {"cancel": True}) + input_frame(2, {"cancel": False}))
        assert runner.answer(1).json is True
        assert runner.answer(2).json is False


# What depends on which task runs, and on what of it asyncio does behind an awaited future.
AS_IN_A_TASK = """
import asyncio
shared = None

async def slow():
    await asyncio.sleep(0.01)
    return "shared"

async def await_one_future_by_two():
    global shared
    shared = shared or asyncio.ensure_future(slow())
    return await shared

async def cancel_oneself_and_wait():
    asyncio.current_task().cancel()
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        return "cancelled"

async def cancel_oneself_and_pass():
    asyncio.current_task().cancel()
    await asyncio.sleep(0)

async def be_cancelled_by_a_child():
    parent = asyncio.current_task()

    async def child():
        parent.cancel()

    asyncio.ensure_future(child())
    awaited = asyncio.ensure_future(asyncio.sleep(60))
    try:
        await awaited
    except asyncio.CancelledError:
        return ["cancelled", awaited.cancelled()]

async def fail_in_a_child():
    group = getattr(asyncio, "TaskGroup", None)
    if group is None:
        return "no groups"

    async def child():
        raise ValueError("child")

    async with group() as tasks:
        tasks.create_task(child())
        await asyncio.sleep(60)

@app.function()
async def f(case):
    return await globals()[case]()

async def outcome(case):
    try:
        return await asyncio.create_task(globals()[case]())
    except BaseException as error:
        return type(error).__name__
"""


@pytest.mark.parametrize(
    "case",
    [
        "await_one_future_by_two",
        "cancel_oneself_and_wait",
        "cancel_oneself_and_pass",
        "be_cancelled_by_a_child",
        "fail_in_a_child",
    ],
)
def test_an_input_behaves_as_in_a_task_of_its_own(runner: RunnerProcess, case: str) -> None:
    here: dict[str, Any] = {}
    exec(AS_IN_A_TASK.replace("@app.function()", ""), here)
    expected = asyncio.run(here["outcome"](case))
    runner.start(AS_IN_A_TASK, **TASKS).ready()
    for _ in range(2):
        runner.send(b"".join(input_frame(i, {"case": case}) for i in range(1, 6)))
        for i in range(1, 6):
            got = runner.answer(i)
            assert (got.json if got.kind == frames.RESULT else got.json["type"]) == expected


# What an input keeps of its current task, in the module, must not reach the next one.
KEEPS_ITS_TASK = """
import asyncio, weakref
strong, weak, done = {}, weakref.WeakKeyDictionary(), []

@app.function()
async def f(how, suspend=False):
    task = asyncio.current_task()
    if suspend:
        await asyncio.sleep(0)
    if how == "cancel later":
        asyncio.get_running_loop().call_later(0.05, task.cancel)
    elif how == "sleep":
        await asyncio.sleep(0.2)
    elif how == "call back":
        task.add_done_callback(lambda _: done.append(1))
        return len(done)
    else:
        kept = strong if how == "strong" else weak
        kept[task] = kept.get(task, 0) + 1
        return kept[task]
"""


@pytest.mark.parametrize("suspend", [False, True])
def test_no_input_meets_another_by_its_task(runner: RunnerProcess, suspend: bool) -> None:
    runner.start(KEEPS_ITS_TASK, **TASKS).ready()
    for how in ("strong", "weak"):
        for _ in range(3):
            assert runner.call({"how": how, "suspend": suspend}).json == 1
    runner.call({"how": "cancel later", "suspend": suspend})
    assert runner.call({"how": "sleep"}).kind == frames.RESULT
    runner.call({"how": "call back", "suspend": suspend})
    runner.call({"how": "strong"})  # takes its place
    assert runner.call({"how": "call back"}).json == 1


def test_a_stray_task_that_exits_does_not_end_the_runner(runner: RunnerProcess) -> None:
    runner.start(
        """
    import asyncio, sys
    strays = []

    async def stray():
        sys.exit(4)

    @app.function()
    async def f():
        strays.append(asyncio.create_task(stray()))
        await asyncio.sleep(0.01)
        return "here"
    """,
        **TASKS,
    ).ready()
    assert runner.call().json == "here"
    assert runner.call().json == "here"
