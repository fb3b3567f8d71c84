"""How the supervisor and its workers go from one content to the next, played through without processes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from serving.release.board import TOPICS, Board, Content
from serving.release.coordinator import Coordinator
from tests.serving.release.fakes import Fake, FakeWorker, a_release, no_room, serves, until


def test_swap_when_all_workers_have_loaded_then_all_turn_at_the_same_store(
    supervisor: Coordinator, source: Fake, start: Callable[[int], FakeWorker]
) -> None:
    one, two = start(1), start(2)
    assert (one.followed.current, two.followed.current) == ("a1", "a1")
    source.now = a_release("b")
    until(supervisor, serves("b"))
    # Neither has polled since: the word alone turned them.
    assert (one.followed.current, two.followed.current) == ("b1", "b1")
    assert supervisor.plan.previous is not None
    assert supervisor.plan.back_to == "a"
    assert source.told == ["b"]


def test_swap_when_the_content_before_is_wanted_again_then_nothing_is_loaded(
    supervisor: Coordinator, source: Fake, start: Callable[[int], FakeWorker]
) -> None:
    worker = start(1)
    source.now = a_release("b")
    until(supervisor, serves("b"))
    source.now = a_release("a", asked=1)
    until(supervisor, serves("a"))
    assert worker.followed.current == "a1"
    assert worker.loaded == ["a", "b"]


def test_swap_when_one_worker_refuses_then_nobody_turns_and_it_is_not_tried_again(
    supervisor: Coordinator, source: Fake, start: Callable[[int], FakeWorker]
) -> None:
    one, two = start(1), start(2)
    two.worse = {"b"}
    source.now = a_release("b")
    plan = until(supervisor, lambda plan: bool(plan.refusals))
    assert plan.refusals[0].reason == "worker 2: errors 1.000 of 5 recent requests, at most 0 allowed"
    for _ in range(5):
        supervisor.tick()
    assert (one.followed.current, two.followed.current) == ("a1", "a1")
    assert supervisor.plan.refused == 1
    # An operator who insists is not held up by the comparison.
    source.now = a_release("b", asked=1, compare=False)
    until(supervisor, serves("b"))
    assert (one.followed.current, two.followed.current) == ("b1", "b1")


def test_swap_when_a_worker_cannot_load_then_the_reason_names_the_error(
    supervisor: Coordinator, source: Fake, start: Callable[[int], FakeWorker]
) -> None:
    worker = start(1)
    worker.failing = {"b"}
    source.now = a_release("b")
    plan = until(supervisor, lambda plan: bool(plan.refusals))
    assert plan.refusals[0].reason == "worker 1: MemoryError: "
    assert worker.followed.current == "a1"


def test_swap_when_a_file_is_damaged_then_no_worker_is_asked_to_load_it(
    supervisor: Coordinator, source: Fake, start: Callable[[int], FakeWorker]
) -> None:
    worker = start(1)
    source.damaged, source.now = {"b"}, a_release("b")
    plan = until(supervisor, lambda plan: bool(plan.refusals))
    assert plan.refusals[0].reason == "b/index.faiss: damaged"
    assert worker.loaded == ["a"]
    source.now = a_release("c")
    until(supervisor, serves("c"))


def test_swap_when_a_newer_one_is_promoted_meanwhile_then_the_older_is_given_up(
    supervisor: Coordinator, source: Fake, start: Callable[[int], FakeWorker]
) -> None:
    worker = start(1)
    source.now = a_release("b")
    supervisor.tick()
    assert supervisor.plan.candidate is not None
    source.now = a_release("c")
    until(supervisor, serves("c"))
    assert source.told == ["c"]
    assert worker.followed.current == "c1"


def test_swap_when_a_part_was_rewritten_then_the_release_is_loaded_again_and_the_old_content_is_let_go(
    supervisor: Coordinator, source: Fake, start: Callable[[int], FakeWorker]
) -> None:
    worker = start(1)
    source.now = a_release("a", "2")
    plan = until(supervisor, lambda plan: plan.swaps == 1)
    assert worker.followed.current == "a2"
    assert (plan.previous, plan.back_to) == (None, "")


def test_swap_when_the_disk_is_full_then_what_serves_goes_on_and_it_is_tried_again(
    supervisor: Coordinator, source: Fake, start: Callable[[int], FakeWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = start(1)
    source.now = a_release("b")
    with monkeypatch.context() as full:
        full.setattr(Path, "write_bytes", no_room)
        for _ in range(3):
            with contextlib.suppress(OSError):  # as the supervisor's thread does, which logs it
                supervisor.tick()
        assert worker.followed.current == "a1"
    until(supervisor, serves("b"))
    assert worker.followed.current == "b1"


def test_previous_when_one_of_its_parts_was_rewritten_then_it_is_let_go(
    supervisor: Coordinator, source: Fake, start: Callable[[int], FakeWorker]
) -> None:
    worker = start(1)
    source.now = a_release("b")
    until(supervisor, serves("b"))
    source.rewritten = {"a"}
    until(supervisor, lambda plan: plan.previous is None and len(worker.followed._held) == 1)
    assert supervisor.plan.back_to == "a"


def test_swap_when_what_is_followed_is_damaged_then_what_serves_goes_on(
    supervisor: Coordinator, source: Fake, start: Callable[[int], FakeWorker]
) -> None:
    worker = start(1)
    source.now = None
    supervisor.tick()
    assert supervisor.plan.trouble == "current.json: damaged"
    assert worker.followed.current == "a1"
    source.now = a_release("b")
    until(supervisor, serves("b"))
    assert not supervisor.plan.trouble


def test_swap_when_a_worker_is_late_then_the_release_is_refused_in_time(
    source: Fake, start: Callable[[int], FakeWorker], tmp_path: Path
) -> None:
    supervisor = Coordinator(Board(tmp_path), "release", source, poll_seconds=1e-9, load_timeout_seconds=0.05)
    supervisor.start(a_release("a"))
    worker = start(1)
    worker.follower._stopped.set()  # as a stopped process: alive, and silent
    source.now = a_release("b")
    plan = until(supervisor, lambda plan: bool(plan.refusals))
    assert plan.refusals[0].reason == "not loaded within 0.05 s by worker 1"


def test_swap_when_a_worker_dies_then_the_others_do_not_wait_for_it(
    supervisor: Coordinator, source: Fake, start: Callable[[int], FakeWorker]
) -> None:
    one, two = start(1), start(2)
    two.follower.stop()
    source.now = a_release("b")
    until(supervisor, serves("b"))
    assert one.followed.current == "b1"


def test_worker_when_it_starts_during_a_swap_then_it_answers_from_what_serves_by_then(
    supervisor: Coordinator, source: Fake, start: Callable[[int], FakeWorker], tmp_path: Path
) -> None:
    start(1)
    late = FakeWorker(tmp_path, 2)
    load = late.followed._load

    def slowly(content: Content, serving: str | None) -> str:
        if content.name == "a":  # the others turn while this one loads what served when it began
            source.now = a_release("b")
            until(supervisor, serves("b"))
        return load(content, serving)

    late.followed._load = slowly
    late.follower.start()
    try:
        assert late.followed.current == "b1"
        assert late.loaded == ["a", "b"]
    finally:
        late.follower.stop()


def test_worker_when_nobody_asks_it_anything_then_it_lets_the_old_content_go_all_the_same(
    supervisor: Coordinator, source: Fake, start: Callable[[int], FakeWorker]
) -> None:
    worker = start(1)
    for name in "bc":
        source.now = a_release(name)
        until(supervisor, serves(name))
    until(supervisor, lambda _: len(worker.followed._held) == 2)
    assert sorted(worker.followed._held.values()) == ["b1", "c1"]


def test_word_when_it_names_what_a_worker_lacks_then_the_worker_goes_on_with_what_it_has(
    supervisor: Coordinator, start: Callable[[int], FakeWorker], caplog: pytest.LogCaptureFixture
) -> None:
    worker = start(1)
    worker.board.words[TOPICS["release"]] = 99
    assert [worker.followed.current for _ in range(3)] == ["a1"] * 3
    assert caplog.text.count("release 99 serves, but this worker does not hold it") == 1


def test_align_when_set_then_the_swap_waits_for_the_clock_and_an_operator_does_not(
    source: Fake, start: Callable[[int], FakeWorker], tmp_path: Path
) -> None:
    clock = [1000.5]
    supervisor = Coordinator(
        Board(tmp_path), "release", source, poll_seconds=1e-9, align_seconds=60, clock=lambda: clock[0]
    )
    supervisor.start(a_release("a"))
    worker = start(1)
    source.now = a_release("b")
    until(supervisor, lambda _: "b" in worker.loaded and len(worker.followed.notes) == 2)
    for _ in range(3):
        supervisor.tick()
    assert worker.followed.current == "a1"
    clock[0] = 1037.0  # nobody looked in time: the other machines have turned, and it waits for the next multiple of 60
    for _ in range(3):
        supervisor.tick()
    assert worker.followed.current == "a1"
    clock[0] = 1080.0
    until(supervisor, serves("b"))
    source.now = replace(a_release("a"), asked=1)
    until(supervisor, serves("a"))
