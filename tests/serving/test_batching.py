"""Concurrent questions computed together, each with its own answer."""

from __future__ import annotations

import asyncio
import resource
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from serving.http.batching import MicroBatcher
from serving.http.pace import Pace, stopwatch

_BUSY_SECONDS = 0.3  # that a busy machine may take; the questions themselves would take half a second on the loop


def test_ask_when_questions_come_together_then_each_gets_its_own_answer() -> None:
    sizes = []

    def double(questions: Sequence[int]) -> list[int]:
        sizes.append(len(questions))
        return [2 * question for question in questions]

    async def ask_all() -> list[int]:
        with ThreadPoolExecutor(1) as executor:
            batcher = MicroBatcher(double, max_batch=8, executor=executor, stopwatch=lambda: since([0.0]))
            return list(await asyncio.gather(*(batcher.ask(number) for number in range(100))))

    assert asyncio.run(ask_all()) == [2 * number for number in range(100)]
    assert max(sizes) == 8
    assert sum(sizes) == 100


def test_ask_when_a_question_makes_its_batch_fail_then_its_caller_alone_hears_of_it() -> None:
    def fail_on_three(questions: Sequence[int]) -> list[int]:
        if 3 in questions:
            raise ValueError("three")
        return list(questions)

    async def ask_all() -> list[int | BaseException]:
        with ThreadPoolExecutor(1) as executor:
            batcher = MicroBatcher(fail_on_three, max_batch=4, executor=executor)
            return list(await asyncio.gather(*(batcher.ask(n) for n in range(6)), return_exceptions=True))

    answers = asyncio.run(ask_all())
    assert [isinstance(answer, ValueError) for answer in answers] == [False, False, False, True, False, False]


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
            batcher = MicroBatcher(
                take, max_batch=8, executor=executor, loop_seconds=0.03, stopwatch=lambda: since(now)
            )
            for number in range(5):
                assert await batcher.ask(number) == number

    asyncio.run(ask_one_by_one())
    assert all((thread == threading.get_ident()) is on_the_loop for thread in threads[1:])


def test_ask_when_many_slow_questions_come_after_quick_ones_then_the_loop_goes_on_and_callers_may_give_up() -> None:
    gaps: list[float] = []

    async def beat() -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(0.002)
            now = time.perf_counter()
            gaps.append(now - last)
            last = now

    async def ask(batcher: MicroBatcher[float, float]) -> bool:
        try:
            await asyncio.wait_for(batcher.ask(0.03), 0.2)
        except TimeoutError:
            return False
        return True

    async def rounds(kind: Callable[[float], str]) -> int:
        with ThreadPoolExecutor(1) as executor:
            batcher = MicroBatcher(_sleep, max_batch=32, executor=executor, kind=kind)
            heart, late = asyncio.create_task(beat()), 0
            for _ in range(2):
                for _ in range(20):
                    await batcher.ask(0.0005)
                late += (await asyncio.gather(*(ask(batcher) for _ in range(16)))).count(False)
            heart.cancel()
            return late

    assert asyncio.run(rounds(str)) > 0
    assert max(gaps) < 0.05 + _BUSY_SECONDS


def test_ask_when_a_kind_hides_that_its_questions_are_slow_now_then_few_are_asked_before_that_shows() -> None:
    sizes: list[int] = []
    now = [0.0]

    def take(questions: Sequence[float]) -> list[float]:
        if threading.current_thread() is threading.main_thread():
            sizes.append(len(questions))
        now[0] += sum(questions)
        return list(questions)

    async def ask_all() -> None:
        with ThreadPoolExecutor(1) as executor:
            batcher = MicroBatcher(take, max_batch=32, executor=executor, stopwatch=lambda: since(now))
            for seconds in (0.0005, 0.03, 0.0005, 0.03):
                sizes.clear()
                for _ in range(20):
                    await batcher.ask(0.0005)
                sizes.clear()
                await asyncio.gather(*(batcher.ask(seconds) for _ in range(32)))
                if seconds > 0.02:
                    assert sizes in ([16], [1])  # the first time, and after

    asyncio.run(ask_all())


def test_ask_when_a_question_may_wait_for_others_then_it_is_never_computed_on_the_loop() -> None:
    threads: list[int] = []

    def take(questions: Sequence[int]) -> list[int]:
        threads.append(threading.get_ident())
        return list(questions)

    async def ask_all() -> None:
        with ThreadPoolExecutor(1) as executor:
            batcher = MicroBatcher(take, max_batch=8, executor=executor, kind=lambda _: None)
            for number in range(5):
                assert await batcher.ask(number) == number

    asyncio.run(ask_all())
    assert threading.get_ident() not in threads


@pytest.mark.parametrize("loop_seconds", [0.02, 0.0])
def test_ask_when_answers_are_missing_then_all_are_asked_alone_and_the_next_are_answered(loop_seconds: float) -> None:
    def lose_one(questions: Sequence[int]) -> list[int]:
        return list(questions) if len(questions) == 1 else list(questions)[1:]

    async def ask_all() -> list[int]:
        with ThreadPoolExecutor(1) as executor:
            batcher = MicroBatcher(lose_one, max_batch=8, executor=executor, loop_seconds=loop_seconds)
            asked = [asyncio.wait_for(batcher.ask(number), 2) for number in range(20)]
            return list(await asyncio.gather(*asked))

    assert asyncio.run(ask_all()) == list(range(20))


def test_pace_when_a_slow_batch_is_long_ago_then_the_next_are_quick_again_and_the_worst_is_known() -> None:
    pace = Pace()
    pace.add(["a"], 1.0)
    assert pace.of("a") == (1, 1)
    for _ in range(20):
        pace.add(["a", "a"], 0.02)
    taken = pace.of("a")
    assert taken is not None
    assert 0.01 < taken.expected < 0.03
    assert taken.worst > 0.9
    assert pace.of("b") is None


def test_pace_when_kinds_are_answered_together_then_each_is_told_apart() -> None:
    pace = Pace()
    pace.add(["slow"], 0.09)
    pace.add(["quick"], 0.01)
    pace.add(["slow", "quick", "quick"], 0.22)
    slow, quick = pace.of("slow"), pace.of("quick")
    assert slow is not None
    assert quick is not None
    assert (slow.expected, quick.expected) == (pytest.approx(0.18), pytest.approx(0.02))


def test_stopwatch_when_a_thread_waits_then_that_counts() -> None:
    spent = stopwatch()
    time.sleep(0.01)
    assert spent() >= 0.009 or resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw  # set aside meanwhile


def since(now: list[float]) -> Callable[[], float]:
    began = now[0]
    return lambda: now[0] - began


def _sleep(questions: Sequence[float]) -> list[float]:
    time.sleep(sum(questions))
    return list(questions)
