"""Customers through the whole house: learned about, served, erased or withdrawn, and no rollback brings them back."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest

import footfall
from features.build import FeatureSet, build_features
from features.columns import ANALYTICS, PURPOSES
from features.panel.build import PanelSettings
from features.privacy.consents import CONSENTS_FILE, ConsentBook
from features.release import ReleaseStore
from features.release.customers_part import write_customers_part
from features.settings import EngineSettings
from tests.features.privacy.traces import ERIN, PHONE, traces, write_erins_shop
from tests.serving.server_process import Server
from tests.serving.tiny_release import build

pytestmark = pytest.mark.xdist_group("server")
ENGINE = EngineSettings(memory_limit="500MB", threads=1)
PANEL = PanelSettings(min_purchases=1, max_items=0, horizon=7)


def two_releases(root: Path) -> tuple[str, str]:
    """Make data, features and a store, and two releases, between which Bob withdraws from analytics."""
    build_features(write_erins_shop(root / "data"), root / "features", engine=ENGINE, panel=PANEL)
    retrieval = build(root / "store", kinds=("retrieval",)).release.parts["retrieval"]
    store = ReleaseStore(root=root / "store")
    features = FeatureSet.load(root / "features")
    first = store.create({"retrieval": retrieval, "customers": write_customers_part(features, store)})
    withdraw(features.directory / CONSENTS_FILE, "bob", ANALYTICS)
    second = store.create({"retrieval": retrieval, "customers": write_customers_part(features, store)})
    store.set_current(second.release_id)
    return first.release_id, second.release_id


def withdraw(path: Path, user_id: str, purpose: str) -> None:
    book = ConsentBook.load(path)
    after = book.of(user_id, purpose).after([(book.of(user_id, purpose).from_us + 1, False)])
    instants = book.instants.copy()
    column = 3 * PURPOSES.index(purpose)
    row = int(np.flatnonzero(book.users.ids == user_id)[0])
    instants[row, column : column + 3] = after.withdrawn_us, after.from_us, after.last_us
    dataclasses.replace(book, instants=instants).save(path)


def answers(server: Server, user_id: str) -> dict[str, object]:
    """What each call says of a customer: a status, a strategy, a list."""
    limits = httpx.Limits(max_keepalive_connections=0)  # a connection a request: any worker may answer
    with httpx.Client(base_url=server.url, timeout=60, limits=limits) as http:
        recommended = http.post("/v1/recommend", json={"user_id": user_id, "k": 5}).json()
        segments = http.post("/v1/segments", json={"user_ids": [user_id]}).json()
        sent = {"events": [{"user_id": user_id, "event_type": "view", "item_id": "item-3"}]}
        return {
            "profile": http.get(f"/v1/customers/{user_id}").status_code,
            "export": http.get(f"/v1/customers/{user_id}/export").status_code,
            "strategy": recommended["strategy"],
            "personalised": recommended["personalised"],
            "segments": [name for name in ("segments", "unknown", "without_consent") if user_id in segments[name]],
            "listed": user_id in http.get("/v1/customers").json()["user_ids"],
            "event": http.post("/v1/events", json=sent).json().get("accepted", "refused"),
        }


KNOWN = {
    "profile": 200, "export": 200, "strategy": "history", "personalised": True, "segments": ["segments"],
    "listed": True, "event": 1,
}  # fmt: skip
FORGOTTEN = {
    "profile": 404, "export": 404, "strategy": "favourites", "personalised": True, "segments": ["unknown"],
    "listed": False, "event": "refused",
}  # fmt: skip
NO_ANALYTICS = KNOWN | {"profile": 403, "segments": ["without_consent"], "listed": False}
NO_PERSONALISATION = KNOWN | {"strategy": "favourites", "personalised": False}


def test_customer_when_erased_or_withdrawn_then_no_rollback_brings_anything_back(
    start_server: Callable[..., Server], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = two_releases(tmp_path)
    data, store = tmp_path / "data", tmp_path / "store"
    server = start_server(store, data=str(data)).wait_until_ready(seconds=200)
    assert answers(server, ERIN) == answers(server, "ann") == KNOWN
    assert answers(server, "bob") == NO_ANALYTICS

    export = httpx.get(
        f"{server.url}/v1/customers/{ERIN}/export", params={"who": "Dana", "why": f"{ERIN} asked"}
    ).json()
    assert export["release_id"] == second
    assert export["ids"] == [ERIN, PHONE]
    assert {row["table"] for row in export["activity"]} == {"events", "exposures", "consents", "coupons", "identities"}
    assert len([row for row in export["activity"] if row["table"] == "events"]) == 50
    assert len(export["live_events"]) == 1
    assert export["history"]
    said = (store / "access.jsonl").read_text().splitlines()
    assert json.loads(said[-1])["who"] == "Dana"
    assert json.loads(said[-1])["why"] == "(customer) asked"

    consent = {"user_id": "ann", "purpose": "personalisation", "granted": False}
    held = httpx.post(f"{server.url}/v1/consents", json=consent).json()["consents"]
    assert held == {
        "analytics": held["analytics"] | {"holds": True},
        "personalisation": {"holds": False, "since": None},
    }
    assert answers(server, "ann") == NO_PERSONALISATION
    wrong = httpx.post(f"{server.url}/v1/consents", json=consent | {"purpose": "analytic"})
    assert (wrong.status_code, "expected one of analytics, personalisation" in wrong.text) == (422, True)

    erased = httpx.delete(f"{server.url}/v1/customers/{PHONE}").json()
    assert (erased["ids"], erased["live_events_deleted"]) == (2, 1)
    assert answers(server, ERIN) == FORGOTTEN
    server.kill()

    places = [data, tmp_path / "features", store]
    words = ["data", "erase", "--user", ERIN, "--data", data, "--features", places[1], "--store", store]
    assert footfall.main([str(word) for word in [*words, "--engine.threads", 1]]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["store"]["releases"] == sorted([first, second])
    assert traces(places, ERIN, PHONE) == []

    back = start_server(store, release_id=first, data=str(data), workers=1).wait_until_ready(seconds=200)
    assert httpx.post(f"{back.url}/v1/recommend", json={}).json()["release_id"] == first
    for user in (ERIN, PHONE):
        assert answers(back, user) == FORGOTTEN
    assert answers(back, "bob") == NO_ANALYTICS  # withdrawn after the first release was made
    assert answers(back, "ann") == NO_PERSONALISATION
    assert answers(back, "cid") == KNOWN
