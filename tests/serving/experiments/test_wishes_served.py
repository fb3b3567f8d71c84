"""Rules and experiments in the real server: a change takes effect without a restart, and a bad one takes none."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from features.exposure_log import ExposureLog
from tests.serving.server_process import Server
from tests.serving.tiny_release import build

EXPERIMENTS = """
experiments:
  draw: {surface: for_you, variants: {control: {}, explore: {weight: 1, explore: {half_life: 2, candidates: 10}}}}
  model: {surface: trending, variants: {control: {}, other: {weight: 1, release: RELEASE}}}
"""


def until(holds: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.05)


@pytest.mark.xdist_group("server")
def test_served_wishes_when_files_change_then_all_workers_turn_and_what_is_wrong_changes_nothing(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    rules, experiments = tmp_path / "merchandising.yaml", tmp_path / "experiments.yaml"
    rules.write_text("rules: {top: {pin: {item-3: 1}}}\n")
    tiny = build(tmp_path / "store", num_items=60)
    other = tiny.store.create(tiny.release.parts)
    experiments.write_text(EXPERIMENTS.replace("RELEASE", other.release_id))
    server = start_server(
        tiny.store.root, rules={"path": str(rules)}, experiments={"path": str(experiments)}, releases={"poll_seconds": 0.2}
    ).wait_until_ready()  # fmt: skip
    client = httpx.Client(base_url=server.url, timeout=30)

    def asked(**request: Any) -> dict[str, Any]:
        return httpx.post(f"{server.url}/v1/recommend", json={"k": 3} | request).json()

    def told() -> dict[str, Any]:
        return dict(client.get("/v1/admin/rules").json())

    assert {asked(surface="similar", item_id="item-9")["items"][0]["item_id"] for _ in range(6)} == {"item-3"}
    first = told()
    assert [one["name"] for one in first["rules"]] == ["top"]
    assert first["experiments"][0]["variants"] == {"control": 0.0, "explore": 1.0}
    rules.write_text("rules: {top: {pin: {item-5: 1}}}\n")
    until(lambda: told()["version"] != first["version"])
    assert {asked(surface="similar", item_id="item-9")["items"][0]["item_id"] for _ in range(12)} == {"item-5"}
    rules.write_text("rules: {top: {pinn: {item-6: 1}}}\n")
    until(lambda: bool(told()["refused"]))
    assert "Did you mean 'pin'?" in told()["refused"][-1]["reason"]
    assert str(rules) in told()["refused"][-1]["reason"]
    assert asked(surface="similar", item_id="item-9")["items"][0]["item_id"] == "item-5"
    stocked = client.post("/v1/items/stock", json={"items": [{"item_id": "item-5", "stock": 0}]}).json()
    assert stocked == {"changed": 1, "unknown_items": []}
    shown = [asked(surface="similar", item_id="item-9", k=50)["items"] for _ in range(6)]
    assert not any(item["item_id"] == "item-5" for items in shown for item in items)
    until(lambda: asked(surface="trending", user_id="user-4")["release_id"] == other.release_id)
    assert told()["experiments"][1]["missing_releases"] == []
    answer = asked(user_id="user-4")
    assert answer["release_id"] == tiny.release.release_id
    assert answer["experiments"] == {"draw": "explore"}
    asked(user_id="user-5")
    assert client.delete("/v1/customers/user-5").json()["erased"]
    assert "footfall_rules_trouble 1.0" in client.get("/metrics").text
    server.stop()
    assert not ExposureLog.of_store(tiny.store.root).of(["user-5"])
    held = [row for row in ExposureLog.of_store(tiny.store.root).of(["user-4"]) if row["campaign_id"] == "draw"]
    assert [row["item_id"] for row in held] == [item["item_id"] for item in answer["items"]]
    assert all(0 < row["propensity"] < 1 and row["variant"] == "explore" for row in held)
