"""Live state when its disk is full, its lock is held, its process is killed, or Redis is gone: nothing that was
acknowledged is lost, and recommendations go on."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import httpx
import msgspec
import pytest
import redis

from serving.api.errors import RequestError
from serving.api.rights_schemas import ConsentRequest
from serving.api.schemas import EventsRequest
from serving.engine import Engine
from serving.engines import add_events_routed
from serving.live.opening import open_live
from serving.live.settings import LiveSettings
from serving.live.store import LiveEvent, LiveStore, Verdict
from serving.privacy.erasures import ErasureWatch
from serving.release.state import ReleaseState
from tests.serving.asking import ask
from tests.serving.redis_process import RedisProcess
from tests.serving.server_process import Server, error_of, view
from tests.serving.tiny_release import AS_OF_US, TinyRelease, build

_FORK = multiprocessing.get_context("fork")


def keep(events: Sequence[LiveEvent]) -> list[Verdict]:
    return ["kept"] * len(events)


def row(number: int, user: str = "u") -> LiveEvent:
    return LiveEvent(f"e{number}", user, AS_OF_US - 1000 + number, "view", f"item-{number % 200}", "x" * 500)


def opened(**chosen: object) -> LiveStore:
    given = {"max_age_days": 36_500, "max_events": 100_000} | chosen
    return open_live(msgspec.convert(given, LiveSettings), Path())


def engine_with(live: LiveStore, state: ReleaseState, tiny: TinyRelease, directory: Path) -> Engine:
    return Engine(state, live, ErasureWatch(type(tiny.store)(root=directory).erasures), wall=lambda: AS_OF_US)


def add_until_refused(live: LiveStore) -> tuple[int, RequestError]:
    for number in range(100_000):
        try:
            live.add([row(number)], judge=keep)
        except RequestError as error:
            return number, error
    raise AssertionError("never refused")


def test_add_when_another_holds_the_lock_then_busy_and_recommendations_go_on(
    tiny_state: ReleaseState, tiny: TinyRelease, tmp_path: Path
) -> None:
    live = opened(file=str(tmp_path / "live.sqlite"), busy_seconds=0.1)
    engine = engine_with(live, tiny_state, tiny, tmp_path)
    engine.add_events(EventsRequest(events=(view("u", "item-4"),)))
    other = sqlite3.connect(tmp_path / "live.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(
        RequestError, match=r"held by other writers; nothing was kept. Send the same request again"
    ) as busy:
        engine.add_events(EventsRequest(events=(view("u", "item-5"),)))
    assert (busy.value.status, busy.value.code, busy.value.retry_after) == (503, "live_state_busy", 1)
    answer = ask(engine, user_id="u", k=1)
    assert answer.live_state
    assert [item.item_id for item in answer.items] == ["item-4"]
    other.execute("ROLLBACK")
    assert engine.add_events(EventsRequest(events=(view("u", "item-5"),))).accepted == 1
    live.close()


def test_add_when_one_of_two_releases_cannot_write_then_the_other_ones_events_are_acknowledged(
    tiny_state: ReleaseState, tiny: TinyRelease, tmp_path: Path
) -> None:
    before, after = (
        engine_with(opened(file=str(tmp_path / name), busy_seconds=0.05), tiny_state, tiny, tmp_path)
        for name in ("before", "after")
    )
    other = sqlite3.connect(tmp_path / "after", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    questions = [(engine, EventsRequest(events=(view("u", "item-4"),))) for engine in (before, after, after)]
    first, *others = add_events_routed(questions)
    assert getattr(first, "accepted", 0) == 1
    assert [getattr(one, "code", "") for one in others] == ["live_state_busy"] * 2
    other.close()


@pytest.fixture(params=["file size limit", "small disk"])
def small_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, Callable[[bool], None]]]:
    """A place for a file, and what makes it full and roomy again."""
    if request.param == "file size limit":

        def limit(is_full: bool) -> None:
            held = max((path.stat().st_size for path in tmp_path.iterdir()), default=0)
            _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (held + 50_000 if is_full else most, most))

        yield tmp_path, limit
        return
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", place], capture_output=True, check=False
    ).returncode:
        pytest.skip("mounting a small disk is not allowed here; a limit on the size of files stands in for it")
    filler = place / "filler"

    def fill(is_full: bool) -> None:
        free = os.statvfs(place)
        if is_full:
            filler.write_bytes(b"0" * (free.f_bavail * free.f_frsize - 50_000))
        else:
            filler.unlink()

    yield place, fill
    subprocess.run(["umount", "-l", place], check=True)


def test_add_when_the_disk_is_full_then_nothing_is_acknowledged_and_recommendations_go_on(
    small_disk: tuple[Path, Callable[[bool], None]], tiny_state: ReleaseState, tiny: TinyRelease, tmp_path: Path
) -> None:
    place, fill = small_disk

    def live_through_it() -> None:
        live = opened(file=str(place / "live.sqlite"))
        engine = engine_with(live, tiny_state, tiny, tmp_path)
        live.add([row(-1, "early")], judge=keep)
        fill(True)
        acknowledged, error = add_until_refused(live)
        assert (error.status, error.code, error.retry_after) == (503, "live_state_unavailable", 1)
        assert "nothing was kept" in str(error)
        assert len(live.read(["u"])["u"].events) == acknowledged
        assert ask(engine, user_id="u", k=1).live_state
        assert len(ask(engine, user_id="user-1", k=5).items) == 5
        # A service that starts now recommends all the same.
        late = engine_with(opened(file=str(place / "live.sqlite")), tiny_state, tiny, tmp_path)
        assert len(ask(late, user_id="user-1", k=5).items) == 5
        fill(False)
        live.add([row(acknowledged)], judge=keep)
        assert len(live.read(["u"])["u"].events) == acknowledged + 1

    in_a_process_of_its_own(live_through_it)


def test_recommend_when_the_file_is_no_database_then_the_release_alone_answers(
    tiny_state: ReleaseState, tiny: TinyRelease, tmp_path: Path
) -> None:
    (tmp_path / "live.sqlite").write_bytes(b"something else" * 1000)
    engine = engine_with(opened(file=str(tmp_path / "live.sqlite")), tiny_state, tiny, tmp_path)
    answer = ask(engine, user_id="user-1", k=3)
    assert len(answer.items) == 3
    # Nobody can say who withdrew a consent here.
    assert (answer.live_state, answer.personalised, answer.strategy) == (False, False, "favourites")
    with pytest.raises(RequestError, match="SQLITE_NOTADB"):
        engine.add_events(EventsRequest(events=(view("u", "item-4"),)))


@pytest.mark.parametrize("durability", ["process", "power"])
def test_add_when_the_process_is_killed_after_the_answer_then_all_is_there(tmp_path: Path, durability: str) -> None:
    chosen = {"file": str(tmp_path / "live.sqlite"), "durability": durability}
    receiver, sender = _FORK.Pipe(duplex=False)

    def write() -> None:
        live = opened(**chosen)
        for number in range(100_000):
            live.add([row(number)], judge=keep)
            sender.send(number)

    writer = _FORK.Process(target=write)
    writer.start()
    newest = [receiver.recv() for _ in range(40)][-1]
    os.kill(writer.pid or 0, signal.SIGKILL)
    writer.join()
    while receiver.poll():
        newest = receiver.recv()
    live = opened(**chosen)
    assert len(live.read(["u"])["u"].events) in (newest + 1, newest + 2)  # the last one may not have been told
    assert live.add([row(number) for number in range(newest + 1)], judge=keep).num_duplicates == newest + 1
    live.close()


@pytest.fixture
def own_redis(redis_program: Path, tmp_path: Path) -> Iterator[RedisProcess]:
    """A Redis that this test may stop."""
    (tmp_path / "redis").mkdir()
    process = RedisProcess(tmp_path / "redis", redis_program)
    yield process
    process.kill()


def test_redis_when_killed_and_back_then_recommendations_go_on_and_nothing_is_lost(
    own_redis: RedisProcess, tiny_state: ReleaseState, tiny: TinyRelease, tmp_path: Path
) -> None:
    engine = engine_with(opened(url=own_redis.url), tiny_state, tiny, tmp_path)
    sent = EventsRequest(events=tuple(view("u", f"item-{n}", event_id=f"e{n}") for n in (4, 5)))
    assert engine.add_events(sent).accepted == 2
    assert ask(engine, user_id="u").strategy == "session"
    own_redis.kill()
    started = time.monotonic()
    answers = [ask(engine, user_id="user-1", k=3) for _ in range(30)]
    assert time.monotonic() - started < 5  # none waits for what is known to be gone
    # Nobody ever changed a consent here, so stored history may be used.
    assert [(one.live_state, one.personalised, one.strategy) for one in answers] == [(False, True, "history")] * 30
    with pytest.raises(RequestError, match="Redis does not answer") as gone:
        engine.add_events(sent)
    assert (gone.value.status, gone.value.code, gone.value.retry_after) == (503, "live_state_unavailable", 1)
    own_redis.start()
    started = time.monotonic()
    while not ask(engine, user_id="u").live_state:
        assert time.monotonic() - started < 20
        time.sleep(0.02)
    assert ask(engine, user_id="u").strategy == "session"
    assert engine.add_events(sent).duplicates == 2


def test_redis_when_it_hangs_and_consents_were_changed_then_lists_are_quick_and_not_personalised(
    own_redis: RedisProcess, tiny_state: ReleaseState, tiny: TinyRelease, tmp_path: Path
) -> None:
    engine = engine_with(opened(url=own_redis.url, timeout_ms=100), tiny_state, tiny, tmp_path)
    engine.add_consent(ConsentRequest(user_id="user-2", purpose="personalisation", granted=False))
    assert ask(engine, user_id="user-1").personalised
    own_redis.process.send_signal(signal.SIGSTOP)
    started = time.monotonic()
    answers = [ask(engine, user_id="user-1", k=3) for _ in range(100)]
    assert time.monotonic() - started < 8  # one after another they would wait 10 s
    assert {(one.live_state, one.personalised, len(one.items)) for one in answers} == {(False, False, 3)}
    own_redis.process.send_signal(signal.SIGCONT)
    time.sleep(0.6)
    assert ask(engine, user_id="user-1").personalised
    assert not ask(engine, user_id="user-2").personalised


def test_risk_when_redis_is_not_set_to_keep_what_it_acknowledges_then_it_is_told(own_redis: RedisProcess) -> None:
    live = opened(url=own_redis.url)
    client = redis.Redis.from_url(own_redis.url)
    client.config_set("appendfsync", "always")
    assert live.risk() == ""
    client.config_set("appendfsync", "everysec")
    assert "a power cut loses up to 2 seconds" in live.risk()
    assert opened(url=own_redis.url, durability="process").risk() == ""
    client.config_set("appendonly", "no")
    assert "appendonly is off" in live.risk()


@pytest.mark.xdist_group("server")
def test_server_when_redis_stops_and_comes_back_then_both_workers_go_on(
    own_redis: RedisProcess, start_server: Callable[..., Server], tmp_path: Path
) -> None:
    server = start_server(build(tmp_path / "store").store.root, live={"url": own_redis.url}).wait_until_ready()
    sent = {"events": [view("kept", f"item-{n}", event_id=f"kept-{n}") for n in range(6)]}

    def recommended() -> list[dict[str, object]]:
        # A new connection each time, so that either worker may answer.
        return [httpx.post(f"{server.url}/v1/recommend", json={"user_id": "kept", "k": 3}).json() for _ in range(8)]

    answer = httpx.post(f"{server.url}/v1/events", json=sent)
    assert answer.json().get("accepted") == 6, answer.text + server.log.read_text()
    assert {one["strategy"] for one in recommended()} == {"session"}
    own_redis.kill()
    assert {(one["live_state"], one["strategy"]) for one in recommended()} == {(False, "favourites")}
    refused = httpx.post(f"{server.url}/v1/events", json=sent)
    assert error_of(refused)[:2] == (503, "live_state_unavailable")
    assert refused.headers["retry-after"] == "1"
    own_redis.start()
    time.sleep(1)
    assert {(one["live_state"], one["strategy"]) for one in recommended()} == {(True, "session")}
    server.kill()
    own_redis.kill()  # every process there is
    own_redis.start()
    assert len(opened(url=own_redis.url).read(["kept"])["kept"].events) == 6


def in_a_process_of_its_own(call: Callable[[], None]) -> None:
    """Run it where a limit, or a crash, touches no other test."""
    receiver, sender = _FORK.Pipe(duplex=False)

    def told() -> None:
        try:
            call()
        except BaseException as error:
            sender.send(repr(error))
            raise
        sender.send("")

    process = _FORK.Process(target=told)
    process.start()
    process.join(60)
    assert process.exitcode == 0, receiver.recv() if receiver.poll() else "it died"
