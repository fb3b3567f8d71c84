"""Webhooks of the real service and of the command line."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import msgspec
import pytest

from serving.commands.webhooks import run
from serving.live.settings import LIVE_FILE
from serving.live.sqlite_store import SqliteStore
from serving.live.store import LiveEvent
from serving.outbox.signing import Signer, new_secret
from tests.serving.server_process import Server
from tests.serving.tiny_release import TinyRelease, build
from tests.serving.webhook_receiver import Receiver

pytestmark = pytest.mark.xdist_group("server")


@pytest.fixture
def own(tmp_path: Path) -> TinyRelease:
    return build(tmp_path / "store", num_items=60, num_users=12)


def secret_file(directory: Path) -> Path:
    path = directory / "secret"
    path.write_text(new_secret())
    path.chmod(0o600)
    return path


def wait_for(is_so: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert is_so()


def test_webhooks_when_two_workers_serve_then_a_trigger_is_told_once_and_signed(
    start_server: Callable[..., Server], own: TinyRelease, tmp_path: Path
) -> None:
    secret = secret_file(tmp_path)
    with Receiver() as receiver:
        endpoint = {"name": "crm", "url": receiver.url, "triggers": ["cart_left"], "secret_file": str(secret)}
        webhooks = {"endpoints": [endpoint], "settle_seconds": 0.3, "cpu_share": 1.0}
        server = start_server(own.store.root, webhooks=webhooks).wait_until_ready()
        ts = (dt.datetime.now(dt.UTC) - dt.timedelta(hours=25)).isoformat()
        events = [
            {"user_id": f"hook-{n}", "event_type": "cart", "item_id": "item-1", "ts": ts, "event_id": f"hook-{n}"}
            for n in range(10)
        ]
        for event in events:  # over several connections, so that both workers notice some
            assert httpx.post(f"{server.url}/v1/events", json={"events": [event]}).json()["accepted"] == 1
        wait_for(lambda: len(receiver.taken) == 10)
        time.sleep(1.5)  # nothing comes twice
        assert len(set(receiver.taken)) == len(receiver.taken) == 10
        signer = Signer.parse(secret.read_text(), where="here")
        assert all(signer.accepts(headers, body, now_s=time.time()) for headers, body in receiver.arrived)
        users = {msgspec.json.decode(body)["data"]["user_id"] for _, body in receiver.arrived}
        assert users == {f"hook-{n}" for n in range(10)}
        metrics = httpx.get(f"{server.url}/metrics").text
        assert 'footfall_webhook_messages_total{endpoint="crm",outcome="delivered"} 10.0' in metrics
        assert "hook-1" not in server.log.read_text()
        server.stop()


def test_webhooks_when_sent_by_command_then_everyone_with_recent_events_is_looked_at(
    own: TinyRelease, tmp_path: Path
) -> None:
    config = tmp_path / "serving.yaml"
    with Receiver() as receiver:
        secret = str(secret_file(tmp_path))
        endpoint = {"name": "crm", "url": receiver.url, "triggers": ["cart_left"], "secret_file": secret}
        webhooks = {"endpoints": [endpoint], "settle_seconds": 3600}
        config.write_bytes(msgspec.yaml.encode({"webhooks": webhooks}))
        ts_us = int((time.time() - 25 * 3600) * 1e6)
        live = SqliteStore(own.store.root / LIVE_FILE)
        live.add([LiveEvent("e1", "ann", ts_us, "cart", "item-1")], judge=lambda events: ["kept"] * len(events))
        assert run(["send", str(own.store.root), "--config", str(config)])["added"] == 1
        assert run(["send", str(own.store.root), "--config", str(config)])["added"] == 0
        assert len(receiver.taken) == 1


def test_webhooks_when_sent_by_command_then_alerts_go_out_and_what_was_given_up_can_be_tried_again(
    own: TinyRelease, tmp_path: Path
) -> None:
    config = tmp_path / "serving.yaml"
    with Receiver() as receiver:
        receiver.answers = lambda number: (204, {}) if number > 1 else (500, {})
        endpoint = {"name": "erp", "url": receiver.url, "alerts": ["all"], "secret_file": str(secret_file(tmp_path))}
        config.write_bytes(msgspec.yaml.encode({"webhooks": {"endpoints": [endpoint], "max_attempts": 1}}))
        store = str(own.store.root)
        sent = run(["send", store, "--config", str(config)])
        assert sent is not None
        assert (sent["added"], sent["tried"]) == (4, {"erp": 4})
        assert sent["messages"] == {"erp": {"delivered": 2, "dead": 2}}
        found = run(["dead", store, "--config", str(config)])
        assert found is not None
        assert [one["said"] for one in found["dead"]] == ["HTTP 500", "HTTP 500"]
        assert run(["retry", store, "erp", "--config", str(config)]) == {"pending_again": 2}
        again = run(["send", store, "--config", str(config)])
        assert again is not None
        assert (again["added"], again["messages"]) == (0, {"erp": {"delivered": 4}})
        status = run(["status", store, "--config", str(config)])
        assert status is not None
        assert status["endpoints"]["erp"]["messages"] == {"delivered": 4}
