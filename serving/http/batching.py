"""One worker's concurrent requests, computed together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")


class MicroBatcher(Generic[Q, A]):
    """Gathers the questions that arrive while a batch is computed into the next batch; none waits for company.

    Args:
        compute: answers several questions, in order.
        max_batch: the most questions a batch.
        executor: where ``compute`` runs, so that the event loop goes on reading requests.
    """

    def __init__(self, compute: Callable[[Sequence[Q]], Sequence[A]], *, max_batch: int, executor: Executor) -> None:
        self._compute = compute
        self._max_batch = max_batch
        self._executor = executor
        self._waiting: list[tuple[Q, asyncio.Future[A]]] = []
        self._drainer: asyncio.Task[None] | None = None

    async def ask(self, question: Q) -> A:
        """Return the answer to one question; an exception of its batch is raised here."""
        future: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, future))
        if self._drainer is None or self._drainer.done():
            self._drainer = asyncio.create_task(self._drain())
        return await future

    async def _drain(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[: self._max_batch], self._waiting[self._max_batch :]
            open_ones = [(question, future) for question, future in batch if not future.done()]
            await self._answer(open_ones)

    async def _answer(self, batch: list[tuple[Q, asyncio.Future[A]]]) -> None:
        questions = [question for question, _ in batch]
        try:
            answers = await asyncio.get_running_loop().run_in_executor(self._executor, self._compute, questions)
        except Exception as error:
            for _, future in batch:
                _settle(future, error=error)
            return
        for (_, future), answer in zip(batch, answers, strict=True):
            if not future.done():
                future.set_result(answer)


def _settle(future: asyncio.Future[A], *, error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
