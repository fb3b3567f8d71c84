"""Gates: who would wait too long is turned away."""

from __future__ import annotations

import pytest

from serving.access.gate import Gate
from serving.api.errors import RequestError


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_gate_when_throughput_is_known_then_the_queue_is_as_long_as_the_wait_allows() -> None:
    clock = Clock()
    gate = Gate(max_wait_seconds=0.25, at_least=8, clock=clock)
    assert gate.limit == 32  # nothing is known yet
    for _ in range(20):
        gate.enter()
    for _ in range(200):  # 400 a second
        clock.now += 0.0025
        gate.leave()
        gate.enter()
    assert gate.per_second == pytest.approx(400)
    assert gate.limit == 100
    while not gate.is_full:
        gate.enter()
    with pytest.raises(RequestError, match="Too many requests wait already; try again in 1 s") as refused:
        gate.enter()
    assert (refused.value.status, refused.value.code, refused.value.retry_after) == (429, "saturated", 1)
    assert gate.inside == 100


def test_gate_when_nobody_is_inside_then_time_that_passes_is_not_held_against_it() -> None:
    clock = Clock()
    gate = Gate(max_wait_seconds=0.1, at_least=2, clock=clock)
    for _ in range(100):
        clock.now += 60
        gate.enter()
        clock.now += 0.01
        gate.leave()
    assert gate.per_second == pytest.approx(100)
    assert gate.inside == 0


def test_gate_when_work_is_slow_then_as_many_as_it_needs_are_let_in_and_the_wait_is_said() -> None:
    clock = Clock()
    gate = Gate(max_wait_seconds=0.25, at_least=5, at_most=5, clock=clock)
    for _ in range(5):
        gate.enter()
    clock.now += 2
    gate.leave()
    gate.enter()
    assert gate.per_second == 0.5
    assert gate.limit == 5
    assert gate.retry_after == 10
