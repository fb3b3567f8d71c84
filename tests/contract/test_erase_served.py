"""`footfall data erase` finds what the service keeps, wherever its settings put it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

import footfall
from features.exposure_log import ExposureLog, ExposureRow
from features.release import ReleaseStore
from serving.live.opening import open_live
from serving.live.settings import LiveSettings
from serving.live.store import ConsentChange, LiveEvent
from serving.outbox.held import HeldMessages
from serving.outbox.marks import Marks
from serving.outbox.messages import Draft, Messages
from tests.features.privacy.traces import traces
from tests.serving.redis_process import RedisProcess

GONE, STAYS = "erin-7f3q", "ann-4k2z"  # texts that stand in nothing else
NOW_US = 1_790_000_000_000_000


def fill(live: LiveSettings, *, exposures: Path, outbox: Path) -> None:
    """Leave rows of two customers in live state, in the log of exposures and in the outbox."""
    store = open_live(live, Path())
    events = [LiveEvent(f"e-{user}", user, 0, "view", "i1") for user in (GONE, STAYS)]
    store.add(events, judge=lambda rows: ["kept"] * len(rows))
    store.add_consent(ConsentChange(GONE, "analytics", True, NOW_US))
    store.close()
    rows = [ExposureRow(user, "i1", "for_you_1", NOW_US, None, "e", "a") for user in (GONE, STAYS)]
    ExposureLog(directory=exposures).append(rows, writer="w")
    Marks(outbox).add([(NOW_US, GONE), (NOW_US, STAYS)])
    drafts = [
        Draft(
            endpoint="crm", about=("t", user), occasion="o", body=json.dumps({"user_id": user}).encode(), subject=user
        )
        for user in (GONE, STAYS)
    ]
    Messages(outbox).add(drafts, now_us=NOW_US, again_us=1)


def erase(store: Path, capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    assert footfall.main(["data", "erase", GONE, "--store", str(store), *map(str, words)]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)["store"]
    return found


@pytest.mark.parametrize("kind", ["store", "elsewhere", "redis"])
def test_erase_when_the_service_keeps_rows_then_none_is_left_wherever_the_settings_put_them(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    store, other = tmp_path / "store", tmp_path / "other"
    ReleaseStore(root=store).erasures.add("somebody")
    place = store if kind == "store" else other
    live: dict[str, Any] = {"file": str(place / ("live_events.sqlite" if kind == "store" else "live.sqlite"))}
    if kind == "redis":
        process: RedisProcess = request.getfixturevalue("redis_process")
        live = {"url": process.url, "prefix": "erase-served"}
    outbox = place / "outbox.sqlite"
    fill(msgspec.convert(live, LiveSettings), exposures=place / "exposures", outbox=outbox)
    words: list[object] = []
    if kind != "store":
        sections = {
            "live": live, "experiments": {"exposures": str(place / "exposures")}, "webhooks": {"path": str(outbox)},
        }  # fmt: skip
        (tmp_path / "serving.yaml").write_text(yaml.safe_dump(sections))
        words = ["--settings", tmp_path / "serving.yaml"]

    found = erase(store, capsys, *words)
    assert (found["live_rows"], found["exposure_rows"], found["messages"]) == (1, 1, 1)
    assert found["still_named_in"] == []
    assert traces([store, other], GONE) == []
    held = open_live(msgspec.convert(live, LiveSettings), Path())
    assert held.users() == [STAYS]
    assert list(held.consents()) == []
    held.close()
    assert [row.get("content") for row in HeldMessages(outbox).of([GONE, STAYS])] == [{"user_id": STAYS}, None]
    assert [row["user_id"] for row in ExposureLog(directory=place / "exposures").of([GONE, STAYS])] == [STAYS]
    again = erase(store, capsys, *words)
    assert (again["live_rows"], again["exposure_rows"], again["messages"]) == (0, 0, 0)


def test_erase_when_nothing_was_served_then_no_file_is_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ReleaseStore(root=tmp_path).erasures.add("somebody")
    before = sorted(path.name for path in tmp_path.iterdir())
    assert erase(tmp_path, capsys)["messages"] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_erase_when_redis_is_gone_then_it_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ReleaseStore(root=tmp_path / "store").erasures.add("somebody")
    settings = tmp_path / "serving.yaml"
    settings.write_text(yaml.safe_dump({"live": {"url": "redis://127.0.0.1:1/0", "busy_seconds": 0.2}}))
    words = ["data", "erase", GONE, "--store", str(tmp_path / "store"), "--settings", str(settings)]
    assert footfall.main(words) == 3
    assert "Run the same command again once they can" in capsys.readouterr().err
    assert GONE in ReleaseStore(root=tmp_path / "store").erasures.load()
