"""Access and erasure of what is kept beside the release: what was shown, and webhooks, sent today or not."""

from __future__ import annotations

import fcntl
import json
import threading
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry

from serving.api.errors import RequestError
from serving.api.rights_schemas import ExportRequest
from serving.engine import Engine
from serving.engines import Engines
from serving.experiments.arm import Arm
from serving.experiments.exposures import ExposureWriter
from serving.http.app import ServiceApp
from serving.outbox.held import HeldMessages
from serving.outbox.marks import Marks
from serving.outbox.messages import Draft, Messages
from serving.process.metrics import ServiceMetrics
from serving.process.settings import ServeSettings
from serving.release.state import ReleaseState
from tests.serving.asking import engine_over
from tests.serving.test_service_app import call, post
from tests.serving.tiny_release import TinyRelease

NOW_US = 1_790_000_000_000_000
WHO = "passer-by-7x"  # nothing else is known of them


@pytest.fixture
def engine(tiny_state: ReleaseState, tiny: TinyRelease, tmp_path: Path) -> Engine:
    """Over an outbox that nobody empties any more: no endpoints are configured."""
    writer = ExposureWriter(tmp_path / "exposures", flush_seconds=60)
    outbox = tmp_path / "outbox.sqlite"
    for user in (WHO, "user-1"):
        writer.keep(Arm(variants={"a": "x"}, unit=user), "for_you", ["item-1"], None)
        body = json.dumps({"user_id": user}).encode()
        Marks(outbox).add([(NOW_US, user)])
        Messages(outbox).add(
            [Draft(endpoint="crm", about=("t", user), occasion="o", body=body, subject=user)], now_us=NOW_US, again_us=1
        )
    writer.flush()
    return engine_over(tiny_state, tiny, tmp_path, exposures=writer, outbox=HeldMessages(outbox))


def served(engine: Engine) -> ServiceApp:
    app = ServiceApp(ServeSettings(), version="test")
    app.attach(Engines(engine), ServiceMetrics(CollectorRegistry()))
    return app


def test_export_when_only_exposures_and_webhooks_are_kept_then_it_holds_both(engine: Engine) -> None:
    found = engine.export(WHO, ExportRequest())
    assert [row["item_id"] for row in found.exposures] == ["item-1"]
    message, look = found.webhooks
    assert (message["endpoint"], message["state"], message["content"]) == ("crm", "pending", {"user_id": WHO})
    assert look["look_at"] == message["added_at"]


def test_erase_when_no_endpoint_is_configured_then_the_outbox_is_emptied_of_the_customer_all_the_same(
    engine: Engine, tmp_path: Path
) -> None:
    assert call(served(engine), "DELETE", f"/v1/customers/{WHO}").json()["erased"]
    with pytest.raises(RequestError, match="Nothing is stored"):
        engine.export(WHO, ExportRequest())
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and WHO.encode() in path.read_bytes()]
    assert [path.name for path in kept if not path.name.startswith(("erasures", "access"))] == []
    assert len(engine.export("user-1", ExportRequest()).webhooks) == 2


def test_event_when_an_erasure_waits_for_the_log_of_exposures_then_it_is_kept_meanwhile(
    engine: Engine, tmp_path: Path
) -> None:
    app, answers = served(engine), list[httpx.Response]()
    [file] = (tmp_path / "exposures").glob("*/*.jsonl")
    with file.open("rb+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        erasing = threading.Thread(target=lambda: answers.append(call(app, "DELETE", f"/v1/customers/{WHO}")))
        erasing.start()
        sent = {"events": [{"user_id": "user-2", "event_type": "view", "item_id": "item-3"}]}
        assert post(app, "/v1/events", sent).json()["accepted"] == 1
        erasing.join(timeout=1)
        assert erasing.is_alive()
    erasing.join(timeout=30)
    assert answers[0].json()["erased"]
