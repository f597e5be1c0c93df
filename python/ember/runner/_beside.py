"""Sync methods of a class that has async ones: on threads, while the event loop goes on."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor

from ember._context import current
from ember.runner._threads import Job, wait_in_job

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from ember.runner._runner import Waiting


class Beside:
    """Threads for as many inputs as there may be at once."""

    def __init__(self, max_inputs: int) -> None:
        self._pool = ThreadPoolExecutor(max_inputs, "input")
        self._own = threading.local()

    def wrapped(self, handler: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, Any]]:
        """The handler as the event loop can run it. A cancellation comes up in its thread."""

        async def run(*args: Any, **kwargs: Any) -> Any:
            job = Job(current.get(), 0, b"")
            context = contextvars.copy_context()
            loop = asyncio.get_running_loop()
            done = loop.run_in_executor(
                self._pool, lambda: self._work(job, context, lambda: handler(*args, **kwargs))
            )
            while True:
                try:
                    return await asyncio.shield(done)
                except asyncio.CancelledError:
                    if done.cancelled():
                        raise
                    job.cancel()  # and then it ends in its own time

        return run

    def wait(self, waiter: Waiting, sleep: Callable[[], object]) -> None:
        """Blocks user code, on a thread, until the waiter is done."""
        wait_in_job(getattr(self._own, "job", None), waiter, sleep)

    def _work(self, job: Job, context: contextvars.Context, work: Callable[[], Any]) -> Any:
        self._own.job = job
        try:
            try:
                job.enter()
                return context.run(work)
            finally:
                job.leave()
        except BaseException:
            job.leave()  # the first one may have been interrupted itself
            raise
        finally:
            self._own.job = None
