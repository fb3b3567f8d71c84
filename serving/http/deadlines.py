"""Deadlines of many requests at the cost of one timer."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Final

# A deadline is kept this many seconds late at most.
_TICK_SECONDS: Final = 0.01


class Deadlines:
    """Ends what takes too long, as ``asyncio.timeout`` does, which sets and calls off a timer of the loop each time.

    Nearly every request ends in time, so none has a timer of its own: while any is under way, the loop looks every 10 ms
    at those that began first.
    """

    def __init__(self) -> None:
        # By the seconds allowed, so that those that end first stand first.
        self._under_way: dict[float, dict[_Within, None]] = {}
        self._is_watching = False

    def within(self, seconds: float) -> _Within:
        """Return a block (``with``) that raises ``TimeoutError`` where its task spends longer in it."""
        loop = asyncio.get_running_loop()
        block = _Within(loop.time() + seconds, self._under_way.setdefault(seconds, {}))
        if not self._is_watching:
            self._is_watching = True
            loop.call_later(_TICK_SECONDS, self._watch, loop)
        if seconds < _TICK_SECONDS:
            loop.call_later(seconds, self._look, loop)
        return block

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        self._look(loop)
        self._is_watching = any(self._under_way.values())
        if self._is_watching:
            loop.call_later(_TICK_SECONDS, self._watch, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for blocks in self._under_way.values():
            while blocks and (first := next(iter(blocks))).ends_at <= now:
                first.call_off()


class _Within:
    """A block with a deadline.

    Args:
        ends_at: by the loop's clock.
        under_way: the blocks that are, which it joins and leaves.
    """

    __slots__ = ("_is_late", "_num_cancelled", "_task", "_under_way", "ends_at")

    def __init__(self, ends_at: float, under_way: dict[_Within, None]) -> None:
        self.ends_at = ends_at
        self._under_way = under_way
        self._is_late = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None, "requests are tasks"
        self._task, self._num_cancelled = task, task.cancelling()
        self._under_way[self] = None

    def call_off(self) -> None:
        """End the block, which is under way."""
        del self._under_way[self]
        self._is_late = True
        self._task.cancel()

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        self._under_way.pop(self, None)
        # Where someone else cancels this task too, it is not the deadline alone that ended the block.
        if self._is_late and self._task.uncancel() <= self._num_cancelled and kind is asyncio.CancelledError:
            raise TimeoutError
