"""How the supervisor and its workers go from one content to the next, played through without processes."""

from __future__ import annotations

import contextlib
import errno
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from features.errors import ReleaseError
from serving.release.board import TOPICS, Board, Content, Plan, Refusal
from serving.release.coordination import Coordination
from serving.release.coordinator import Coordinator
from serving.release.followed import Followed, Refused
from serving.release.follower import Follower
from serving.release.sources import Wanted


class Fake:
    """A source whose word is a variable."""

    def __init__(self) -> None:
        self.now: Wanted | None = a_release("a")
        self.beside: tuple[Wanted, ...] = ()
        self.damaged: set[str] = set()
        self.rewritten: set[str] = set()
        self.told: list[str] = []

    def wanted(self) -> Wanted:
        if self.now is None:
            raise ReleaseError("current.json: damaged")
        return self.now

    def also(self, names: Iterable[str]) -> tuple[Wanted, ...]:
        return (*self.beside, *(a_release(name) for name in names))

    def is_stale(self, content: Content) -> bool:
        return content.name in self.rewritten

    def verify(self, wanted: Wanted) -> None:
        if wanted.name in self.damaged:
            raise ReleaseError(f"{wanted.name}/index.faiss: damaged")

    def swapped(self, plan: Plan) -> None:
        self.told.append(plan.serving.name)

    def refused(self, refusal: Refusal) -> None:
        self.told.append(f"not {refusal.name}")


class FakeWorker:
    """A worker whose releases are their names."""

    def __init__(self, directory: Path, pid: int) -> None:
        self.board = Board(directory, pid=pid)
        self.failing: set[str] = set()
        self.worse: set[str] = set()
        self.deadly: set[str] = set()
        self.loaded: list[str] = []
        self.followed = Followed[str](self.board, "release", load=self._load, compare=self._compare)
        self.follower = Follower(self.board, [self.followed])

    def _load(self, content: Content, _: str | None) -> str:
        self.loaded.append(content.name)
        if content.name in self.deadly:  # as one that is killed for its memory
            self.follower.stop()
            raise SystemExit
        if content.name in self.failing:
            raise MemoryError
        return f"{content.name}{content.digest}"

    def _compare(self, _: str, candidate: str) -> dict[str, float]:
        if candidate[0] in self.worse:
            raise Refused("errors 1.000 of 5 recent requests, at most 0 allowed", {"errors": 1.0})
        return {"errors": 0.0}


def a_release(name: str, digest: str = "1", **more: object) -> Wanted:
    return Wanted(name=name, digest=digest, followed=name, **more)  # type: ignore[arg-type]


@pytest.fixture
def source() -> Fake:
    return Fake()


@pytest.fixture
def supervisor(source: Fake, tmp_path: Path) -> Coordinator:
    coordinator = Coordinator(Board(tmp_path), "release", source, poll_seconds=1e-9, load_timeout_seconds=30)
    coordinator.start(a_release("a"))
    return coordinator


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[int], FakeWorker]]:
    with contextlib.ExitStack() as closing:

        def started(pid: int) -> FakeWorker:
            worker = FakeWorker(tmp_path, pid)
            worker.follower.start()
            closing.callback(worker.follower.stop)
            return worker

        yield started


def until(supervisor: Coordinator, holds: Callable[[Plan], bool]) -> Plan:
    deadline = time.monotonic() + 10
    while not holds(supervisor.plan):
        assert time.monotonic() < deadline, supervisor.plan
        supervisor.tick()
        time.sleep(0.005)
    return supervisor.plan


def serves(name: str) -> Callable[[Plan], bool]:
    return lambda plan: plan.serving.name == name


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
        full.setattr(Path, "write_bytes", _no_room)
        for _ in range(3):
            with contextlib.suppress(OSError):  # as the supervisor's thread does, which logs it
                supervisor.tick()
        assert worker.followed.current == "a1"
    until(supervisor, serves("b"))
    assert worker.followed.current == "b1"


def _no_room(*_: object) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


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
        full.setattr(Path, "write_bytes", _no_room)
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

    def load(content: Content, _: str | None) -> str:
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
