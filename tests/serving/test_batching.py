"""Concurrent questions computed together, each with its own answer."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from serving.http.batching import MicroBatcher, Pace


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


def test_ask_when_batches_are_slow_then_the_loop_goes_on_and_a_caller_may_give_up() -> None:
    def slowly(questions: Sequence[int]) -> list[int]:
        time.sleep(0.05)
        return list(questions)

    async def ask_all() -> int:
        with ThreadPoolExecutor(1) as executor:
            batcher = MicroBatcher(slowly, max_batch=8, executor=executor, loop_seconds=0.03)
            await batcher.ask(0)  # on the loop: nobody knew
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(batcher.ask(1), 0.01)
            return await batcher.ask(2)

    assert asyncio.run(ask_all()) == 2


@pytest.mark.parametrize(("seconds", "on_the_loop"), [(0.0, True), (0.1, False)])
def test_ask_when_batches_take_so_long_then_they_are_computed_where_they_hold_up_nobody(
    seconds: float, on_the_loop: bool
) -> None:
    threads: list[int] = []
    now = [0.0]

    def take(questions: Sequence[int]) -> list[int]:
        threads.append(threading.get_ident())
        now[0] += seconds
        return list(questions)

    async def ask_one_by_one() -> None:
        with ThreadPoolExecutor(1) as executor:
            batcher = MicroBatcher(take, max_batch=8, executor=executor, loop_seconds=0.03, clock=lambda: now[0])
            for number in range(5):
                assert await batcher.ask(number) == number

    asyncio.run(ask_one_by_one())
    assert all((thread == threading.get_ident()) is on_the_loop for thread in threads[1:])


def test_pace_when_a_slow_batch_is_long_ago_then_the_next_are_quick_again() -> None:
    pace = Pace()
    pace.add(1.0)
    assert pace.seconds == 1
    for _ in range(20):
        pace.add(0.01)
    assert 0.01 < pace.seconds < 0.03
