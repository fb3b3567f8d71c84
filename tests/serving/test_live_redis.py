"""What only Redis has to see to: whose entries of the log are whose, one clock for all machines, several threads."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis

from serving.live.redis_store import RedisStore
from serving.live.settings import LiveSettings
from serving.live.store import ConsentChange, LiveEvent, LiveStateError, Verdict
from tests.serving.redis_process import RedisProcess

DAY_US = 86_400_000_000


def keep(events: Sequence[LiveEvent]) -> list[Verdict]:
    return ["kept"] * len(events)


def view(number: int, user: str = "u", ts_us: int = 0) -> LiveEvent:
    return LiveEvent(f"e{number}", user, ts_us or time.time_ns() // 1_000, "view", "i")


@pytest.fixture
def chosen(redis_process: RedisProcess, tmp_path: Path) -> LiveSettings:
    place = {"url": redis_process.url, "prefix": f"r{abs(hash(str(tmp_path)))}", "timeout_ms": 5_000}
    return msgspec.convert(place, LiveSettings)


@pytest.fixture
def client(chosen: LiveSettings) -> Any:
    return redis.Redis.from_url(chosen.url, decode_responses=True)


def test_delete_when_the_log_is_long_then_no_entry_of_others_is_read(chosen: LiveSettings, client: Any) -> None:
    live = RedisStore(chosen)
    live.add([view(number, f"u{number}") for number in range(1_500)], judge=keep)

    def reads() -> int:
        return int(client.info("commandstats")["cmdstat_xrange"]["calls"])

    before = reads()
    assert live.keep_only("u3", lambda _: False) == 1
    assert live.delete_user("u4") == 1
    assert len(live.users()) == 1_498  # the last entry of u3 is gone, and so is u3
    assert reads() - before == 1  # that of u3
    assert len(live.logged()) == 1_498


def test_users_when_the_log_is_of_before_users_were_noted_then_they_are_found_and_deleted(
    chosen: LiveSettings, client: Any
) -> None:
    first = RedisStore(chosen)
    first.add([view(1), view(2, "v")], judge=keep)
    first.add_consent(ConsentChange("w", "analytics", True, 1))
    for key in client.scan_iter(f"{chosen.prefix}:logged:*"):
        client.delete(key)
    client.delete(f"{chosen.prefix}:users")
    client.hdel(f"{chosen.prefix}:meta", "indexed")
    later = RedisStore(chosen)
    assert later.users() == ["u", "v", "w"]
    assert later.delete_user("u") == 1
    assert [one.event.user_id for one in later.logged()] == ["v"]


def test_users_when_all_of_a_user_is_gone_by_age_then_the_name_goes(chosen: LiveSettings, client: Any) -> None:
    live = RedisStore(chosen)
    live.add([view(1), view(2, "v")], judge=keep)
    live.forget_logged(live.logged()[-1].position)
    client.delete(f"{chosen.prefix}:events:u")  # as Redis does it when it is old
    assert live.users() == ["v"]
    assert client.smembers(f"{chosen.prefix}:users") == {"v"}


@pytest.mark.parametrize(("days_unseen", "left"), [(0, ["e1", "e2"]), (200, ["e1", "e2"]), (None, ["e2"])])
def test_add_when_redis_own_clock_leaps_then_the_log_stays(
    chosen: LiveSettings, client: Any, days_unseen: float | None, left: list[str]
) -> None:
    live, now_us = RedisStore(chosen), time.time_ns() // 1_000
    received_us = now_us - (0 if days_unseen == 0 else 200) * DAY_US
    fields = {"event_id": "e1", "user_id": "u", "ts_us": "1", "event_type": "view", "item_id": "i", "more": ""}
    client.xadd(f"{chosen.prefix}:log", fields, id=f"{received_us // 1000}-1")
    if days_unseen is not None:  # it was seen to be that late, that long ago
        last_us = now_us - int(days_unseen * DAY_US)
        client.hset(f"{chosen.prefix}:meta", mapping={"aged_us": last_us, "seen_us": last_us})
    live.add([view(2)], judge=keep)
    assert [one.event.event_id for one in live.logged()] == left


def test_add_when_another_thread_meets_a_newer_generation_meanwhile_then_it_is_judged_again(
    chosen: LiveSettings,
) -> None:
    live, withdrawn = RedisStore(chosen), False

    def judge(events: Sequence[LiveEvent]) -> list[Verdict]:
        nonlocal withdrawn
        verdicts: list[Verdict] = ["withheld" if withdrawn else "kept"] * len(events)
        if not withdrawn:
            withdrawn = True
            RedisStore(chosen).add_consent(ConsentChange("u", "analytics", False, 1))
            live.add([view(9, "another")], judge=keep)  # as another thread of this worker
        return verdicts

    assert live.add([view(1)], judge=judge).num_withheld == 1
    assert [one.event.user_id for one in live.logged()] == ["another"]


def test_add_when_the_answer_is_lost_then_nobody_says_that_nothing_was_kept(
    redis_program: Path, tmp_path: Path
) -> None:
    process = RedisProcess(tmp_path, redis_program)
    live = RedisStore(LiveSettings(url=process.url, busy_seconds=0.2))
    try:
        live.add([view(1)], judge=keep)
        blocker = redis.Redis.from_url(process.url)
        blocker.execute_command("CLIENT", "PAUSE", "600", "WRITE")
        with pytest.raises(LiveStateError, match="may have been kept or not") as lost:
            live.add([view(2)], judge=keep)
        assert "nothing was kept" not in str(lost.value)
        with pytest.raises(LiveStateError, match="nothing was kept"):  # it is known to be gone, and nothing is sent
            live.add([view(3)], judge=keep)
    finally:
        process.kill()
