"""What a public key can do: send hints, and learn nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.access.keys import KeyFile
from serving.access.settings import LimitSettings, Rate, RoleRates
from serving.http.app import ServiceApp
from serving.process.settings import ServeSettings
from serving.release.state import ReleaseState
from tests.serving.access.test_door import bearer, call, code_of
from tests.serving.test_service_app import attached


class Shop:
    """An app over a release, with a key of its server and a public one."""

    def __init__(self, state: ReleaseState, root: Path, **limits: Any) -> None:
        file = KeyFile(root / "api_keys.json")
        self.own, self.public = (file.add(name=role, role=role).secret for role in ("admin", "tracker"))
        settings = ServeSettings(store=str(root), limits=LimitSettings(**limits))
        self.app: ServiceApp = attached(state, root, settings)

    def send(self, key: str, *rows: object) -> httpx.Response:
        return call(self.app, "POST", "/v1/events", headers=bearer(key), json={"events": rows})

    def history(self, user_id: str) -> list[tuple[str, str]]:
        answer = call(self.app, "GET", f"/v1/customers/{user_id}", headers=bearer(self.own)).json()
        return [(one["event_type"], one["item_id"]) for one in answer["history"]]


def event(event_type: str = "view", user_id: str = "new-1", **more: object) -> dict[str, object]:
    return {"user_id": user_id, "event_type": event_type, "item_id": "item-5"} | more


@pytest.fixture
def shop(tiny_state: ReleaseState, tmp_path: Path) -> Shop:
    return Shop(tiny_state, tmp_path)


def test_tracker_when_it_took_an_orders_id_then_the_shops_own_purchase_is_kept_all_the_same(shop: Shop) -> None:
    ts = "2026-01-01T00:00:00Z"
    assert shop.send(shop.public, event(event_id="order-1-1"), event(ts=ts)).json()["accepted"] == 2
    own = shop.send(shop.own, event("purchase", event_id="order-1-1", quantity=1), event(ts=ts)).json()
    assert (own["accepted"], own["duplicates"]) == (2, 0)
    assert ("purchase", "item-5") in shop.history("new-1")
    before = len(shop.history("new-1"))
    shop.send(shop.public, event(event_id="order-1-1"), event(ts=ts))  # what a tracker sends twice counts once
    assert len(shop.history("new-1")) == before
    assert shop.send(shop.public, event(event_id="a" * 256)).status_code == 200


def test_tracker_when_it_sends_what_browsers_do_not_know_then_those_rows_are_set_aside(shop: Shop) -> None:
    for kind in ("purchase", "refund", "login", "message_opened"):
        refused = shop.send(shop.public, event(kind, quantity=1))
        assert code_of(refused) == (422, "no_event_accepted")
        assert (
            "expected one that trackers may send (impression, view, view_section, search, favorite, cart, "
            in (refused.json()["error"]["message"])
        )
    mixed = shop.send(shop.public, event("refund", quantity=1), event(), "no row").json()
    assert (mixed["accepted"], [one["row"] for one in mixed["rejected"]]) == (1, [0, 2])


def test_tracker_when_it_asks_about_someone_then_the_answer_is_the_same_for_everyone(shop: Shop) -> None:
    assert call(shop.app, "DELETE", "/v1/customers/gone-1", headers=bearer(shop.own)).status_code == 200
    for purpose in ("analytics", "personalisation"):
        no = {"user_id": "no-1", "purpose": purpose, "granted": False}
        assert call(shop.app, "POST", "/v1/consents", headers=bearer(shop.own), json=no).status_code == 200
    twice = event(user_id="user-1", event_id="e-1")
    shop.send(shop.public, twice)
    answers = [
        shop.send(shop.public, row)
        for row in (
            event(user_id="gone-1"),  # erased
            event(user_id="no-1"),  # without consent
            twice,  # sent before
            event(user_id="user-1", item_id="no such item"),
            event(user_id="user-2"),
        )
    ]
    assert {one.text for one in answers} == {answers[-1].text}
    assert answers[-1].json()["accepted"] == 1
    assert shop.send(shop.own, event(user_id="gone-1")).status_code == 422  # the shop's own server is told


def test_tracker_when_it_sends_many_rows_then_they_are_capped_and_cost_as_many_requests(
    tiny_state: ReleaseState, tmp_path: Path
) -> None:
    rates = RoleRates(tracker=Rate(per_second=0.001, burst=12))
    shop = Shop(tiny_state, tmp_path, rates=rates)
    rows = [event(event_id=f"e-{number}") for number in range(50)]
    assert [shop.send(shop.public, *rows).status_code for _ in range(4)] == [200, 200, 200, 429]  # 5, 10, 15 of 12
    elsewhere = Shop(tiny_state, tmp_path / "elsewhere", rates=rates)
    assert code_of(elsewhere.send(elsewhere.public, *rows, event())) == (422, "invalid_request")
    assert elsewhere.send(elsewhere.own, *rows, event()).status_code == 200
