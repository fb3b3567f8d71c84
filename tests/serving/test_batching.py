"""Concurrent questions computed together, each with its own answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from serving.http.batching import MicroBatcher


def test_ask_when_questions_come_together_then_each_gets_its_own_answer() -> None:
    sizes = []

    def double(questions: Sequence[int]) -> list[int]:
        sizes.append(len(questions))
        time.sleep(0.002)
        return [2 * question for question in questions]

    async def ask_all() -> list[int]:
        with ThreadPoolExecutor(1) as executor:
            batcher = MicroBatcher(double, max_batch=8, executor=executor)
            return list(await asyncio.gather(*(batcher.ask(number) for number in range(100))))

    assert asyncio.run(ask_all()) == [2 * number for number in range(100)]
    assert max(sizes) == 8
    assert sum(sizes) == 100


def test_ask_when_a_batch_fails_then_its_callers_hear_of_it_and_the_next_are_answered() -> None:
    def fail_on_three(questions: Sequence[int]) -> list[int]:
        if 3 in questions:
            raise ValueError("three")
        return list(questions)

    async def ask_all() -> list[int | BaseException]:
        with ThreadPoolExecutor(1) as executor:
            batcher = MicroBatcher(fail_on_three, max_batch=2, executor=executor)
            return list(await asyncio.gather(*(batcher.ask(n) for n in range(6)), return_exceptions=True))

    answers = asyncio.run(ask_all())
    assert [isinstance(answer, ValueError) for answer in answers] == [False, False, True, True, False, False]


def test_ask_when_a_caller_gives_up_then_the_others_are_answered() -> None:
    def slowly(questions: Sequence[int]) -> list[int]:
        time.sleep(0.05)
        return list(questions)

    async def ask_all() -> int:
        with ThreadPoolExecutor(1) as executor:
            batcher = MicroBatcher(slowly, max_batch=8, executor=executor)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(batcher.ask(1), 0.01)
            return await batcher.ask(2)

    assert asyncio.run(ask_all()) == 2
