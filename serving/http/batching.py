"""One worker's concurrent requests, computed together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Final, Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")

# The share of the newest batch in what is expected of the next.
_NEWEST: Final = 0.2
# Turns of the event loop between two batches: libuv lets in one new connection a turn. While connections keep coming the
# next batch waits for them, or they would stand in the kernel's queue, where nobody counts how long.
_TURNS: Final = 8
_MOST_TURNS: Final = 512


class Pace:
    """How long a batch will take, by those before it: an average that a slow one raises at once and that falls slowly."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def add(self, seconds: float) -> None:
        """Count one batch."""
        self.seconds = max(seconds, self.seconds + _NEWEST * (seconds - self.seconds))


class MicroBatcher(Generic[Q, A]):
    """Gathers the questions that arrive together, or while a batch is computed, into the next batch.

    None waits for company: a batch begins as soon as the requests that the event loop has read are at hand. It is
    computed on the loop itself while batches are quick, which saves the way to a thread and back (docs/decisions/0022).
    Where they are slow, as over a store that does not answer or an exact search over a large catalogue, the next ones
    are computed in a thread until they are quick again, and the loop goes on reading requests, ends those whose
    deadline has passed and answers health checks.

    Args:
        compute: answers several questions, in order.
        max_batch: the most questions a batch.
        executor: where slow batches are computed, one at a time.
        loop_seconds: a batch that is expected to take longer is slow; 0 computes all in the executor.
        newcomers: how many connections were ever let in.
        observe: told of each batch: its size, how many wait for the next, and the seconds it took.
        clock: seconds.
    """

    def __init__(
        self,
        compute: Callable[[Sequence[Q]], Sequence[A]],
        *,
        max_batch: int,
        executor: Executor,
        loop_seconds: float = 0.1,
        newcomers: Callable[[], int] = int,
        observe: Callable[[int, int, float], None] = lambda *_: None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._compute = compute
        self._max_batch = max_batch
        self._executor = executor
        self._loop_seconds = loop_seconds
        self._newcomers = newcomers
        self._observe = observe
        self._clock = clock
        self._pace = Pace()
        self._waiting: list[tuple[Q, asyncio.Future[A]]] = []
        self._is_at_work = False  # a batch is computed, or about to be

    async def ask(self, question: Q) -> A:
        """Return the answer to one question; an exception of its batch is raised here."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[A] = loop.create_future()
        self._waiting.append((question, future))
        if not self._is_at_work:
            self._is_at_work = True
            # After all that the loop has read already: requests that came together are asked together.
            loop.call_soon(self._next, loop)
        return await future

    def _after_turns(self, loop: asyncio.AbstractEventLoop, turns: int, most: int, seen: int) -> None:
        let_in = self._newcomers()
        left = turns if let_in == seen else _TURNS
        if left and most:
            loop.call_soon(self._after_turns, loop, left - 1, most - 1, let_in)
        else:
            self._next(loop)

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        batch, self._waiting = self._waiting[: self._max_batch], self._waiting[self._max_batch :]
        held = [(question, future) for question, future in batch if not future.done()]
        questions = [question for question, _ in held]
        if self._pace.seconds < self._loop_seconds:
            self._settle(held, self._timed(questions))
            self._go_on(loop)
        else:
            work = loop.run_in_executor(self._executor, self._timed, questions)
            work.add_done_callback(lambda done: self._settle_late(loop, held, done))

    def _settle_late(
        self,
        loop: asyncio.AbstractEventLoop,
        held: Sequence[tuple[Q, asyncio.Future[A]]],
        done: asyncio.Future[Sequence[A] | Exception],
    ) -> None:
        self._settle(held, done.result() if not done.cancelled() else asyncio.CancelledError())
        self._go_on(loop)

    def _go_on(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_at_work = bool(self._waiting)
        if self._is_at_work:
            loop.call_soon(self._after_turns, loop, _TURNS, _MOST_TURNS, self._newcomers())

    def _timed(self, questions: Sequence[Q]) -> Sequence[A] | Exception:
        started = self._clock()
        try:
            return self._compute(questions) if questions else []
        except Exception as error:
            return error
        finally:
            seconds = self._clock() - started
            self._pace.add(seconds)
            self._observe(len(questions), len(self._waiting), seconds)

    @staticmethod
    def _settle(held: Sequence[tuple[Q, asyncio.Future[A]]], answers: Sequence[A] | BaseException) -> None:
        for row, (_, future) in enumerate(held):
            if future.done():
                continue
            if isinstance(answers, BaseException):
                future.set_exception(answers)
            else:
                future.set_result(answers[row])
