"""Loads that kill, refusals that may pass, releases beside, and topics that do not wait for each other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from serving.release.board import Board, Content
from serving.release.coordination import Coordination
from serving.release.coordinator import Coordinator
from serving.release.followed import Followed
from serving.release.follower import Follower
from tests.serving.release.fakes import Fake, FakeWorker, a_release, no_room, serves, until


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_swap_when_loading_kills_every_worker_then_nobody_turns_and_the_release_is_refused(
    supervisor: Coordinator, source: Fake, start: Callable[[int], FakeWorker]
) -> None:
    one, two = start(1), start(2)
    one.deadly = two.deadly = {"b"}
    source.now = a_release("b")
    plan = until(supervisor, lambda plan: bool(plan.refusals))
    assert (plan.serving.name, plan.refusals[0].reason[:6]) == ("a", "worker")
    assert "died while loading, as worker" in plan.refusals[0].reason
    assert start(3).followed.current == "a1"
    for _ in range(3):
        supervisor.tick()
    assert supervisor.plan.serving.name == "a"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_swap_when_a_worker_dies_of_loading_then_the_survivor_waits_for_its_successor(
    supervisor: Coordinator, source: Fake, start: Callable[[int], FakeWorker]
) -> None:
    one, two = start(1), start(2)
    two.deadly, source.now = {"b"}, a_release("b")
    until(supervisor, lambda plan: len(one.followed.notes) == 2 and len(supervisor._board.workers()) == 1)
    for _ in range(3):
        supervisor.tick()
    assert one.followed.current == "a1"
    three = start(3)  # it was killed for another reason: this one can load it
    until(supervisor, serves("b"))
    assert (one.followed.current, three.followed.current) == ("b1", "b1")


def test_swap_when_a_refusal_may_pass_then_it_is_tried_again_later(
    source: Fake, start: Callable[[int], FakeWorker], tmp_path: Path
) -> None:
    supervisor = Coordinator(Board(tmp_path), "release", source, poll_seconds=1e-9, retry_seconds=0.2)
    supervisor.start(a_release("a"))
    worker = start(1)
    worker.failing, source.now = {"b"}, a_release("b")
    plan = until(supervisor, lambda plan: bool(plan.refusals))
    assert plan.refusals[0].reason == "worker 1: MemoryError: "
    worker.failing = set()
    until(supervisor, serves("b"))
    assert worker.loaded == ["a", "b", "b"]


def test_swap_when_the_disk_is_full_as_all_turn_then_a_rollback_goes_back_all_the_same(
    supervisor: Coordinator, source: Fake, start: Callable[[int], FakeWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = start(1)
    source.now = a_release("b")
    until(supervisor, lambda plan: plan.candidate is not None)
    while len(worker.followed.notes) < 2:
        time.sleep(0.005)
    with monkeypatch.context() as full:
        full.setattr(Path, "write_bytes", no_room)
        with pytest.raises(OSError, match="No space"):
            supervisor.tick()
    assert worker.followed.current == "b1"
    source.now = a_release("a", asked=1)
    until(supervisor, lambda plan: plan.swaps == 2)
    assert (supervisor.plan.serving.name, supervisor.plan.back_to, worker.followed.current) == ("a", "b", "a1")


def test_topics_when_one_is_slow_then_the_other_does_not_wait(tmp_path: Path, source: Fake) -> None:
    slow, quick, held = Fake(), Fake(), threading.Event()
    slow.verify = lambda _: held.wait(10)  # type: ignore[assignment,method-assign,return-value]
    coordinators = [Coordinator(Board(tmp_path), "release", slow), Coordinator(Board(tmp_path), "wishes", quick)]
    for one in coordinators:
        one.start(a_release("a"))
    slow.now = quick.now = a_release("b")
    coordination = Coordination(coordinators)
    coordination.start()
    try:
        deadline = time.monotonic() + 5
        while coordinators[1].plan.candidate is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        assert coordinators[0].plan.candidate is None
    finally:
        held.set()
        coordination.stop()


def test_beside_when_wanted_then_it_is_known_once_every_worker_holds_it(
    supervisor: Coordinator, start: Callable[[int], FakeWorker]
) -> None:
    one, two = start(1), start(2)
    two.failing = {"x"}
    one.follower.want(["x"])
    until(supervisor, lambda _: "x" in two.loaded)
    supervisor.tick()
    assert one.followed.by_name("x") is None
    two.failing = set()
    one.follower.want(["y"])
    until(supervisor, lambda _: one.followed.by_name("y") == "y1" == two.followed.by_name("y"))
    assert one.followed.names == ["a", "y"]
    one.follower.want([])
    until(supervisor, lambda _: one.followed.by_name("y") is None and len(one.followed._held) == 1)


def test_beside_when_a_worker_starts_anew_then_it_answers_once_it_holds_what_the_others_do(
    supervisor: Coordinator, start: Callable[[int], FakeWorker], tmp_path: Path
) -> None:
    one, two = start(1), start(2)
    for worker in (one, two):
        worker.follower.want(["y"])
    until(supervisor, lambda _: one.followed.by_name("y") == "y1" == two.followed.by_name("y"))
    two.follower.stop()
    late = FakeWorker(tmp_path, 3)
    load, seen = late.followed._load, []

    def slowly(content: Content, serving: str | None) -> str:
        for _ in range(20 if content.name == "y" else 0):
            supervisor.tick()
            time.sleep(0.01)
            seen.append(one.followed.by_name("y"))
        return load(content, serving)

    late.followed._load = slowly
    late.follower.start()
    late.follower.want(["y"])
    try:
        seen += [late.followed.by_name("y")]
        for _ in range(20):
            supervisor.tick()
            time.sleep(0.01)
            seen += [one.followed.by_name("y"), late.followed.by_name("y")]
        assert set(seen) == {"y1"}
    finally:
        late.follower.stop()


def test_beside_when_all_places_are_taken_then_those_that_are_held_keep_theirs(
    supervisor: Coordinator, source: Fake, start: Callable[[int], FakeWorker]
) -> None:
    worker, asked = start(1), []
    source.also = lambda names: tuple(a_release(name) for name in asked.append(list(names)) or asked[-1][:1])  # type: ignore[method-assign,assignment,func-returns-value]
    worker.follower.want(["z"])
    until(supervisor, lambda _: worker.followed.by_name("z") == "z1")
    worker.follower.want(["b", "z"])
    until(supervisor, lambda _: asked[-1] == ["z", "b"])
    assert worker.followed.by_name("z") == "z1"


def test_topics_when_a_release_is_loaded_then_rules_change_meanwhile(tmp_path: Path) -> None:
    board, held, source = Board(tmp_path, pid=1), threading.Event(), Fake()
    rules, releases = Coordinator(board, "wishes", source, poll_seconds=1e-9), Coordinator(board, "release", Fake())
    for one in (rules, releases):
        one.start(a_release("a"))

    def load(content: Content, _: Sequence[str]) -> str:
        assert content.name == "a" or held.wait(10)
        return content.name

    slow = Followed[str](board, "release", load=load)
    quick = Followed[str](board, "wishes", load=lambda content, _: content.name)
    follower = Follower(board, [quick, slow])
    follower.start()
    try:
        board.write_plan(
            "release", msgspec.structs.replace(releases.plan, candidate=Content(number=2, name="b", digest=""))
        )
        source.now = a_release("b")
        until(rules, serves("b"))
        assert (quick.current, len(slow.notes)) == ("b", 1)
    finally:
        held.set()
        follower.stop()
