"""One worker's concurrent requests, computed together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Executor
from typing import Final, Generic, TypeVar

from serving.http.pace import Pace, stopwatch

Q = TypeVar("Q")
A = TypeVar("A")

# The most questions computed on the loop before the clock is looked at: however slow they turn out to be, it is held up
# for no more of them. In batches of 16 each costs 4% more than in batches of 32, in batches of 8 a quarter more.
_MOST_UNSEEN: Final = 16
# So many times ``loop_seconds`` the loop may be held up where each question takes as long as the slowest lately: one that is
# asked alone takes twice as long as one of a batch, and would else make batches of 7 out of 16 that wait.
_AT_WORST: Final = 2.0
# Turns of the event loop between two batches: libuv lets in one new connection a turn, and whoever was just answered asks
# again. While connections keep coming the next batch waits for them, or they would stand in the kernel's queue, where
# nobody counts how long.
_TURNS: Final = 8
_MOST_TURNS: Final = 512

log = logging.getLogger(__name__)


class MicroBatcher(Generic[Q, A]):
    """Gathers the questions that arrive together, or while a batch is computed, into the next batch.

    None waits for company: a batch begins as soon as the requests that the event loop has read are at hand. It is
    computed on the loop itself as far as that is quick, which saves the way to a thread and back (docs/decisions/0022):
    as many questions as are expected to fit ``loop_seconds`` by what others of their kind took, the first of a kind
    alone, and no more at once than would fit if each took as long as the slowest lately. Where the next one does not
    fit, as with an exact search over a large catalogue, the next batch is computed in a thread, and the loop goes on
    reading requests, ends those whose deadline has passed and answers health checks.

    Args:
        compute: answers several questions, in order.
        max_batch: the most questions a batch.
        executor: where slow batches are computed, one at a time.
        loop_seconds: how long the loop may be held up; 0 computes all in the executor.
        kind: which questions take about as long as each other; ``None`` for one that may wait for others, as for a
            store over the network, which is never computed on the loop.
        newcomers: how many connections were ever let in.
        observe: told of each batch: its size, how many wait for the next, and the seconds it took.
        stopwatch: begins to measure, and returns what tells the seconds since.
    """

    def __init__(
        self,
        compute: Callable[[Sequence[Q]], Sequence[A]],
        *,
        max_batch: int,
        executor: Executor,
        loop_seconds: float = 0.02,
        kind: Callable[[Q], Hashable | None] = lambda _: "",
        newcomers: Callable[[], int] = int,
        observe: Callable[[int, int, float], None] = lambda *_: None,
        stopwatch: Callable[[], Callable[[], float]] = stopwatch,
    ) -> None:
        self._compute = compute
        self._max_batch = max_batch
        self._executor = executor
        self._loop_seconds = loop_seconds
        self._kind = kind
        self._newcomers = newcomers
        self._observe = observe
        self._stopwatch = stopwatch
        self._pace = Pace()
        self._waiting: list[_Waiting[Q, A]] = []
        self._is_at_work = False  # a batch is computed, or about to be
        self._has_company = False  # the newest batch was of several who may ask again at once

    def ask(self, question: Q) -> asyncio.Future[A]:
        """Return the answer to one question, to be awaited; it raises what the question raises even when asked alone."""
        loop = asyncio.get_running_loop()
        waiting: _Waiting[Q, A] = _Waiting(question, self._kind(question), loop.create_future())
        self._waiting.append(waiting)
        if not self._is_at_work:
            self._is_at_work = True
            # After all that the loop has read already: requests that came together are asked together.
            loop.call_soon(self._next, loop)
        return waiting.future

    def _after_turns(self, loop: asyncio.AbstractEventLoop, turns: int, most: int, seen: int) -> None:
        let_in = self._newcomers()
        left = turns if let_in == seen else _TURNS
        if left and most:
            loop.call_soon(self._after_turns, loop, left - 1, most - 1, let_in)
        else:
            self._next(loop)

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        self._waiting = [one for one in self._waiting if not one.future.done()]
        self._has_company = len(self._waiting) > 1
        if self._waiting and not self._quick_ones(self._loop_seconds, self._max_batch):
            held = self._taken(self._max_batch)
            work = loop.run_in_executor(self._executor, self._timed, held)
            work.add_done_callback(lambda done: self._settle_late(loop, held, done))
            return
        try:
            self._compute_here()
        finally:
            self._go_on(loop)

    def _compute_here(self) -> None:
        """Answer what fits the loop's turn, a few questions at a time."""
        seconds, left = self._loop_seconds, self._max_batch
        while number := self._quick_ones(seconds, left):
            held = self._taken(number)
            answers, taken = self._timed(held)
            _settle(held, answers)
            seconds, left = seconds - taken, left - number

    def _quick_ones(self, seconds: float, most: int) -> int:
        """Return how many of those that wait longest are expected to fit so many seconds; the first of a kind goes alone."""
        number, at_worst = 0, 0.0
        for one in self._waiting[: min(most, _MOST_UNSEEN)]:
            if one.kind is None or seconds <= 0:
                break
            taken = self._pace.of(one.kind)
            if taken is None:
                return number or 1
            seconds -= taken.expected
            at_worst += taken.worst
            if seconds < 0 or (number and at_worst > _AT_WORST * self._loop_seconds):
                break
            number += 1
        return number

    def _taken(self, number: int) -> list[_Waiting[Q, A]]:
        taken, self._waiting = self._waiting[:number], self._waiting[number:]
        return taken

    def _settle_late(
        self,
        loop: asyncio.AbstractEventLoop,
        held: Sequence[_Waiting[Q, A]],
        done: asyncio.Future[tuple[Sequence[A | Exception], float]],
    ) -> None:
        try:
            failed = asyncio.CancelledError() if done.cancelled() else done.exception()
            _settle(held, done.result()[0] if failed is None else [failed] * len(held))
        finally:
            self._go_on(loop)

    def _go_on(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_at_work = bool(self._waiting) or self._has_company
        if self._is_at_work:
            loop.call_soon(self._after_turns, loop, _TURNS, _MOST_TURNS, self._newcomers())

    def _timed(self, held: Sequence[_Waiting[Q, A]]) -> tuple[Sequence[A | Exception], float]:
        """Return the answers, and the seconds that they took."""
        spent = self._stopwatch()
        answers = self._answers([one.question for one in held])
        seconds = spent()
        self._pace.add([one.kind for one in held], seconds)
        self._observe(len(held), len(self._waiting), seconds)
        return answers, seconds

    def _answers(self, questions: Sequence[Q]) -> Sequence[A | Exception]:
        """Return an answer or an error a question: what fails together is asked one by one, once."""
        try:
            answers = self._compute(questions)
            if len(answers) != len(questions):
                raise RuntimeError(f"expected {len(questions)} answers, found {len(answers)}")
        except Exception as error:
            if len(questions) == 1:
                return [error]
            log.warning("a batch of %d failed (%s): asking one by one", len(questions), type(error).__name__)
            return [self._answers([question])[0] for question in questions]
        return answers


class _Waiting(Generic[Q, A]):
    """A question whose caller waits."""

    __slots__ = ("future", "kind", "question")

    def __init__(self, question: Q, kind: Hashable | None, future: asyncio.Future[A]) -> None:
        self.question, self.kind, self.future = question, kind, future


def _settle(held: Sequence[_Waiting[Q, A]], answers: Sequence[A | BaseException]) -> None:
    for one, answer in zip(held, answers, strict=True):
        if one.future.done():
            continue
        if isinstance(answer, BaseException):
            one.future.set_exception(answer)
        else:
            one.future.set_result(answer)
