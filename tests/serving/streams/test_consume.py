"""A real Redis stream into live state: every event exactly once, also when the consumer is killed in the middle."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis

import footfall
from features.errors import ConfigError
from features.release import ReleaseStore
from features.release.erasure import ErasureList
from serving.live.opening import open_live
from serving.live.settings import LiveSettings
from serving.live.store import LiveStore
from serving.streams.consume import Consumer
from serving.streams.stream import open_stream
from tests.serving.redis_process import RedisProcess
from tests.serving.server_process import ROOT


@pytest.fixture
def client(redis_process: RedisProcess) -> Any:
    return redis.Redis.from_url(redis_process.url, decode_responses=True)


@pytest.fixture
def topic(tmp_path: Path) -> str:
    return f"events-{abs(hash(str(tmp_path)))}"


@pytest.fixture
def store(tmp_path: Path) -> ReleaseStore:
    return ReleaseStore(root=tmp_path / "store")


def live_of(store: ReleaseStore) -> LiveStore:
    return open_live(LiveSettings(max_events=100_000, max_age_days=36_500), Path(store.root))


def event(number: int, **more: object) -> dict[str, object]:
    return {"user_id": f"u{number % 7}", "event_type": "view", "item_id": f"i{number}", "event_id": f"e{number}"} | more


def send(client: Any, topic: str, *rows: object) -> None:
    with client.pipeline(transaction=False) as together:
        for row in rows:
            together.xadd(topic, {"event": row if isinstance(row, str) else json.dumps(row)})
        together.execute()


def consumed(store: ReleaseStore, process: RedisProcess, topic: str, **more: Any) -> dict[str, int]:
    stream = open_stream(process.url, topic=topic, group="g", member=more.pop("member", "m"))
    live = live_of(store)
    counts = Consumer(stream, live, store, **more).run(stops=lambda: False, until_empty=True)
    live.close(), stream.close()
    return dict(vars(counts))


def test_consume_when_messages_are_good_bad_and_repeated_then_each_has_its_place(
    client: Any, topic: str, store: ReleaseStore, redis_process: RedisProcess
) -> None:
    ErasureList(path=store.erasures.path).add("gone")
    good = [event(1, section="shelf", price=250), event(2), event(1), {**event(3), "event_id": None}]
    send(client, topic, *good, "{no json", event(4, event_type="vew"), event(5, user_id="gone"), "17")
    client.xadd(topic, {"user_id": "flat", "event_type": "view", "item_id": "i9", "dwell_ms": "900"})
    found = consumed(store, redis_process, topic)
    assert found == {
        "messages": 9,
        "accepted": 4,
        "duplicates": 1,
        "dead": 3,
        "erased": 1,
        "without_consent": 0,
    }
    dead = [fields for _, fields in client.xrange(f"{topic}:dead")]
    assert [one["event"] for one in dead] == ["{no json", json.dumps(event(4, event_type="vew")), "17"]
    assert dead[0]["reason"].startswith("expected a JSON object, found something else")
    assert dead[1]["reason"].endswith("Did you mean 'view'?")
    assert client.xpending(topic, "g")["pending"] == 0
    live = live_of(store)
    logged = {one.event.user_id: one.event for one in live.logged()}
    assert msgspec.json.decode(logged["flat"].more or "") == {"dwell_ms": 900}
    assert logged["flat"].event_id.startswith(f"{topic}-")
    live.close()


def test_consume_when_killed_in_the_middle_then_the_next_run_ends_with_exact_counts(
    client: Any, topic: str, store: ReleaseStore, redis_process: RedisProcess, tmp_path: Path
) -> None:
    numbers = list(range(700))
    random.Random(0).shuffle(numbers)
    send(client, topic, *("poison" if number % 50 == 0 else event(number) for number in numbers))
    words = [
        "consume",
        str(store.root),
        "--stream",
        redis_process.url,
        "--topic",
        topic,
        "--batch",
        "7",
        "--group",
        "g",
    ]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "footfall", *words, "--member", "m"], cwd=ROOT, stderr=log)
    deadline = time.monotonic() + 60
    while client.xlen(topic) and _read(client, topic) < 100 and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    live = live_of(store)
    assert 0 < len(live.logged(limit=5_000)) < 686
    consumed(store, redis_process, topic)
    events = [one.event for one in live.logged(limit=5_000)]
    assert sorted(one.event_id for one in events) == sorted(f"e{n}" for n in numbers if n % 50)
    assert client.xlen(f"{topic}:dead") == 14
    assert client.xpending(topic, "g")["pending"] == 0
    live.close()


FLAT = {"user_id": "u", "event_type": "purchase", "item_id": "i"}
POISON: list[dict[Any, Any]] = [
    {"event": b"[" * 100_000},
    {"event": b'{"user_id": "\xff"}'},
    {"event": b'{"user_id": "\\ud800", "event_type": "view", "item_id": "i"}'},
    {"event": json.dumps(FLAT)[:-1].encode() + b', "price": ' + b"9" * 5_000 + b"}"},
    FLAT | {"user_id": b"\xff"},
    FLAT | {b"\xff": "x"},
    *(FLAT | {"quantity": text} for text in ("--5", "9" * 5_000, "9" * 19, "\u0665", "-5", "5.0")),
]


def test_consume_when_messages_are_poison_then_each_is_set_aside_and_the_others_are_kept(
    client: Any, topic: str, store: ReleaseStore, redis_process: RedisProcess
) -> None:
    for number, fields in enumerate(POISON):
        client.xadd(topic, fields)
        client.xadd(topic, FLAT | {"quantity": "2", "event_id": f"e{number}"})
    found = consumed(store, redis_process, topic)
    assert (found["accepted"], found["dead"]) == (len(POISON), len(POISON))
    assert client.xpending(topic, "g")["pending"] == 0
    dead = [fields for _, fields in redis.Redis.from_url(redis_process.url).xrange(f"{topic}:dead")]
    assert [one[b"event"] for one in dead[:4]] == [fields["event"] for fields in POISON[:4]]
    assert b"user_id=\xff" in dead[4][b"event"]
    assert all(one[b"reason"] for one in dead)


def _read(client: Any, topic: str) -> int:
    groups = client.xinfo_groups(topic)
    return int(groups[0]["entries-read"] or 0) if groups else 0


def test_consume_when_the_store_is_busy_then_it_waits_and_loses_nothing(
    client: Any, topic: str, store: ReleaseStore, redis_process: RedisProcess
) -> None:
    send(client, topic, event(1))
    stream = open_stream(redis_process.url, topic=topic, group="g", member="m")
    holder = live_of(store)
    busy = open_live(LiveSettings(max_age_days=36_500, busy_seconds=0.05), Path(store.root))
    tries = iter([False] * 4)

    def hold(_: object) -> list[str]:
        counts = Consumer(stream, busy, store).run(stops=lambda: next(tries, True))
        assert counts.accepted == 0
        return []

    holder.add([], judge=hold)  # type: ignore[arg-type] # the write lock is held meanwhile
    assert consumed(store, redis_process, topic)["accepted"] == 1
    busy.close(), holder.close(), stream.close()


def test_consume_when_the_stream_is_of_no_known_kind_then_it_says_so() -> None:
    with pytest.raises(ConfigError, match="--stream: expected redis://HOST:PORT/0 or kafka://HOST:PORT, found 'amqp"):
        open_stream("amqp://x", topic="t", group="g", member="m")
    assert footfall.main(["consume", "/nowhere", "--stream", "kafka://127.0.0.1:1"]) == 2  # no client is installed
