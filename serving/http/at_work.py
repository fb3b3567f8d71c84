"""What a request set to work in a thread, which goes on after its deadline: a thread cannot be stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any, Final, TypeVar

T = TypeVar("T")
# Of the request whose task this is.
_at_work: Final[ContextVar[Future[Any] | None]] = ContextVar("at_work", default=None)


class OneThread(ThreadPoolExecutor):
    """One thread that remembers what it was given last.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        super().__init__(max_workers=1, thread_name_prefix=name)
        self.newest: Future[Any] | None = None

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Have a call made after those before it."""
        self.newest = work = super().submit(fn, *args, **kwargs)
        return work


async def in_thread(thread: OneThread, call: Callable[[], T]) -> T:
    """Return what a call returns on a thread; one that has not begun at the request's deadline is never made."""
    work = thread.submit(call)
    _at_work.set(work)
    return await asyncio.wrap_future(work)


async def beside(thread: OneThread, answer: Awaitable[T]) -> T:
    """Return an answer that is computed with others, perhaps on this thread."""
    try:
        return await answer
    except asyncio.CancelledError:
        _at_work.set(thread.newest)
        raise


def when_done(leave: Callable[[], None]) -> bool:
    """Return whether what this request waited for still goes on after its deadline; then ``leave`` is called at its end."""
    work = _at_work.get()
    if work is None or work.done():  # done: called off before it began, too
        return False
    loop = asyncio.get_running_loop()
    work.add_done_callback(lambda _: None if loop.is_closed() else loop.call_soon_threadsafe(leave))
    return True
