"""Sync methods of a class that has async ones: on threads, while the event loop goes on."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor

from ember._context import current
from ember.exception import InputCancelled
from ember.runner._streams import END, end_items, next_item
from ember.runner._threads import Job, wait_in_job

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
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
            context = contextvars.copy_context()
            return await self._run(context, lambda: handler(*args, **kwargs))

        return run

    def wrapped_generator(
        self, handler: Callable[..., Iterator[Any]]
    ) -> Callable[..., AsyncIterator[Any]]:
        """The same of a generator: each item is made on some thread, all in one context."""

        async def run(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            context = contextvars.copy_context()
            items = handler(*args, **kwargs)
            try:
                while (item := await self._run(context, lambda: next_item(items))) is not END:
                    yield item
            except BaseException as error:
                is_cancelled = isinstance(error, asyncio.CancelledError)
                cause = InputCancelled() if is_cancelled else error
                await self._run(context, lambda: end_items(items, cause))
                raise

        return run

    async def _run(self, context: contextvars.Context, work: Callable[[], Any]) -> Any:
        job = Job(current.get(), 0, b"")
        loop = asyncio.get_running_loop()
        done = loop.run_in_executor(self._pool, lambda: self._work(job, context, work))
        while True:
            try:
                return await asyncio.shield(done)
            except asyncio.CancelledError:
                if done.cancelled():
                    raise
                job.cancel()  # and then it ends in its own time

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
