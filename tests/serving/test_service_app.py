"""The app without a server around it: what happens when things go wrong on our side."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry

from features.release import ReleaseStore
from serving.access.settings import LimitSettings
from serving.api.customer_schemas import SegmentsAnswer
from serving.engine import Engine
from serving.engines import Engines
from serving.http.app import ServiceApp
from serving.privacy.erasures import ErasureWatch
from serving.process.metrics import ServiceMetrics
from serving.process.settings import ServeSettings
from serving.release.state import ReleaseState
from tests.serving.asking import live_store


def call(app: ServiceApp, method: str, path: str, body: object = None) -> httpx.Response:
    async def send() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return await client.request(method, path, json=body)

    return asyncio.run(send())


def post(app: ServiceApp, path: str, body: object) -> httpx.Response:
    return call(app, "POST", path, body)


def attached(state: ReleaseState, root: Path, settings: ServeSettings) -> ServiceApp:
    app = ServiceApp(settings, version="test")
    live = live_store(root / "live.sqlite")
    engine = Engine(state, live, ErasureWatch(ReleaseStore(root=root).erasures))
    app.attach(Engines(engine), ServiceMetrics(CollectorRegistry()))
    return app


def test_app_when_the_release_is_still_loading_then_it_says_try_again() -> None:
    app = ServiceApp(ServeSettings(), version="test")
    assert not app.is_ready
    for path, body in (("/v1/recommend", {}), ("/v1/events", {"events": [{}]}), ("/v1/segments", {"user_ids": ["a"]})):
        answer = post(app, path, body)
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "starting"
    assert call(app, "GET", "/metrics").json()["error"]["code"] == "starting"


def test_turned_away_when_the_queue_is_full_then_only_what_waits_in_it_hears_429() -> None:
    app = ServiceApp(ServeSettings(), version="test")
    assert app.turned_away(b"POST", b"/v1/recommend", []) is None
    gate = app._gates["recommend"]
    gate.inside = gate.limit
    refused = app.turned_away(b"POST", b"/v1/recommend", [])
    assert refused is not None
    assert refused[0] == 429
    for method in (b"GET", b"OPTIONS", b"HEAD"):  # the app knows what these hear: 405, 204
        assert app.turned_away(method, b"/v1/recommend", []) is None


def test_pages_when_opened_then_no_other_site_may_frame_them() -> None:
    page = call(ServiceApp(ServeSettings(), version="test"), "GET", "/docs")
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert page.headers.get_list("x-content-type-options") == ["nosniff"]


def test_app_when_an_answer_takes_too_long_then_the_deadline_ends_it(tiny_state: ReleaseState, tmp_path: Path) -> None:
    app = attached(tiny_state, tmp_path, ServeSettings(limits=LimitSettings(deadline_seconds=1e-6)))
    answer = post(app, "/v1/segments", {"user_ids": ["user-1"]})
    assert answer.status_code == 504
    assert answer.json()["error"] == {"code": "deadline", "message": "Expected an answer within 1e-06 s; try again."}


def test_recommend_when_it_takes_too_long_then_favourites_stand_in(tiny_state: ReleaseState, tmp_path: Path) -> None:
    app = attached(tiny_state, tmp_path, ServeSettings(limits=LimitSettings(recommend_seconds=1e-6)))
    answer = post(app, "/v1/recommend", {"user_id": "user-1", "k": 3})
    assert answer.status_code == 200
    body = answer.json()
    favourites = [tiny_state.item_ids[code] for code in tiny_state.favourites.item[:3]]
    assert [item["item_id"] for item in body["items"]] == favourites
    assert (body["strategy"], body["degraded"], body["personalised"]) == ("favourites", True, False)
    assert "degraded" not in post(attached(tiny_state, tmp_path, ServeSettings()), "/v1/recommend", {}).json()
    category = str(tiny_state.catalog.category[tiny_state.favourites.item[0]])
    filtered = post(app, "/v1/recommend", {"k": 200, "filters": {"category": category}}).json()["items"]
    codes = [tiny_state.item_codes[item["item_id"]] for item in filtered]
    assert codes
    assert all(str(tiny_state.catalog.category[code]).startswith(category) for code in codes)
    assert post(app, "/v1/recommend", {"filters": {"brand": "no such brand"}}).json()["items"] == []
    assert post(app, "/v1/recommend", {"k": 0}).status_code == 422


def test_app_when_something_breaks_inside_then_neither_answer_nor_log_names_the_user(
    tiny_state: ReleaseState, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = attached(tiny_state, tmp_path, ServeSettings())
    (tmp_path / "erasures.jsonl").write_text("{}\n{}\n")  # a damaged list: who is to be forgotten cannot be known
    with caplog.at_level(logging.ERROR):
        answer = post(app, "/v1/recommend", {"user_id": "user-1"})
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "internal"
    assert "route=/v1/recommend error=DataError" in caplog.text
    assert "in load" in caplog.text  # where it happened
    assert "user-1" not in caplog.text + answer.text


def test_gate_when_work_goes_on_past_its_deadline_then_its_place_is_free_only_when_it_ends(
    tiny_state: ReleaseState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = LimitSettings(deadline_seconds=0.05, bulk_waiting=0)
    app = attached(tiny_state, tmp_path, ServeSettings(limits=limits))
    release = threading.Event()
    monkeypatch.setattr(
        Engine,
        "segments",
        lambda *_: (
            release.wait(5),
            SegmentsAnswer(segments={}, unknown=[], without_consent=[], as_of=None, release_id=""),
        )[1],
    )
    monkeypatch.setattr(Engine, "customers", lambda *_: (release.wait(5), None)[1])
    gate = app._gates["bulk"]

    async def ask() -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            body = {"user_ids": ["user-1"]}
            assert (await client.post("/v1/segments", json=body)).status_code == 504
            assert gate.inside == 1
            late = await client.post("/v1/segments", json=body)
            assert (late.status_code, late.json()["error"]["code"]) == (429, "saturated")
            lookups = [client.get("/v1/customers") for _ in range(2)]  # the second never begins
            assert [one.status_code for one in await asyncio.gather(*lookups)] == [504, 504]
            assert app._gates["lookup"].inside == 1
            assert (await client.get("/metrics")).status_code == 200  # stands behind nothing of this
            release.set()
            for _ in range(100):
                if not gate.inside + app._gates["lookup"].inside:
                    break
                await asyncio.sleep(0.01)
            assert (gate.inside, app._gates["lookup"].inside) == (0, 0)

    asyncio.run(ask())


def test_metrics_when_they_take_too_long_then_the_deadline_ends_it(
    tiny_state: ReleaseState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = attached(tiny_state, tmp_path, ServeSettings(limits=LimitSettings(deadline_seconds=0.05)))
    monkeypatch.setattr(ServiceMetrics, "exposition", lambda _: time.sleep(0.3) or b"")
    assert call(app, "GET", "/metrics").status_code == 504
