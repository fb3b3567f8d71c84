"""Blocks that take too long end, whatever others of their length do."""

from __future__ import annotations

import asyncio

import pytest

from serving.http.deadlines import Deadlines


def test_within_when_a_block_takes_too_long_then_it_alone_ends() -> None:
    async def wait(deadlines: Deadlines, seconds: float, allowed: float) -> str:
        try:
            with deadlines.within(allowed):
                await asyncio.sleep(seconds)
        except TimeoutError:
            return "late"
        return "in time"

    async def all_of_them() -> list[str]:
        deadlines = Deadlines()
        waits = [(0.0, 0.05), (5.0, 0.05), (0.1, 2.0), (0.01, 0.3), (5.0, 0.02)]
        return await asyncio.gather(*(wait(deadlines, *one) for one in waits))

    assert asyncio.run(all_of_them()) == ["in time", "late", "in time", "in time", "late"]


def test_within_when_a_task_is_cancelled_by_someone_else_then_that_is_no_deadline() -> None:
    async def forever(deadlines: Deadlines) -> None:
        with deadlines.within(30):
            await asyncio.sleep(30)

    async def cancel() -> None:
        task = asyncio.create_task(forever(Deadlines()))
        await asyncio.sleep(0)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancel())


def test_within_when_a_block_ended_then_the_task_goes_on_past_the_deadline() -> None:
    async def go_on() -> int:
        deadlines = Deadlines()
        with deadlines.within(0.02):
            pass
        for _ in range(2):
            with pytest.raises(TimeoutError), deadlines.within(0.02):
                await asyncio.sleep(1)
        await asyncio.sleep(0.05)
        task = asyncio.current_task()
        return -1 if task is None else task.cancelling()

    assert asyncio.run(go_on()) == 0
