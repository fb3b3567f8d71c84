"""The tracker in a real browser on a shop's page, against the real server."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.browser import Page
from tests.serving.server_process import ROOT, Server

pytestmark = pytest.mark.xdist_group("server")
SHOP = """<!doctype html><title>Shop</title><body data-footfall-view="item-5">
<script src="/tracker.js"></script>
<section data-footfall-section="shelf" style="height: 200px">
  <a data-footfall-item="item-6" data-footfall-slot="1">Six</a>
  <button id="add" data-footfall-do="cart" data-footfall-item="item-8">Add</button>
</section>
<div style="height: 4000px"></div><a id="below" data-footfall-item="item-9">Nine</a></body>"""
AGREED = "localStorage.getItem('footfall')"


@pytest.fixture
def shop(browser: Page, server: Server) -> Page:
    """A page of the shop, whose script comes from the service."""
    browser.size(1000, 700)
    browser.stand_in(f"{server.url}/shop", SHOP)
    browser.open(f"{server.url}/shop")
    browser.js("footfall.consent(false)")
    browser.requests.clear()
    browser.errors.clear()
    return browser


def sent(page: Page) -> list[dict[str, Any]]:
    """Return the events of all requests so far."""
    bodies = [one["postData"] for one in page.requests if "/v1/events" in one["url"]]
    return [event for body in bodies for event in json.loads(body)["events"]]


def of_type(page: Page, event_type: str) -> list[dict[str, Any]]:
    return [one for one in sent(page) if one["event_type"] == event_type]


def test_tracker_when_there_is_no_consent_then_nothing_is_sent_or_stored(shop: Page) -> None:
    shop.js("footfall.view('item-1'); footfall.cart('item-2'); footfall.identify('ann')")
    shop.click("#add")
    shop.settle(1.2)  # an impression takes a second, a batch three tenths
    assert shop.requests == []
    assert shop.js("localStorage.length + sessionStorage.length + document.cookie.length") == 0


def test_tracker_when_consent_is_given_then_what_is_seen_arrives_and_what_is_not_does_not(
    shop: Page, http: httpx.Client
) -> None:
    assert shop.js("footfall.consent(true)")
    user = json.loads(shop.js(AGREED))["id"]
    shop.until(lambda: of_type(shop, "impression"))
    assert [one["item_id"] for one in of_type(shop, "view")] == ["item-5"]
    (impression,) = of_type(shop, "impression")  # item-9 lies far below, item-8 is a button
    assert (impression["item_id"], impression["slot"], impression["section"]) == ("item-6", "1", "shelf")
    assert impression["user_id"] == impression["device_id"] == user
    shop.js("document.querySelector('#below').scrollIntoView()")
    shop.until(lambda: len(of_type(shop, "impression")) > 1)
    assert [one["item_id"] for one in of_type(shop, "impression")] == ["item-6", "item-9"]
    history = http.get(f"/v1/customers/{user}").json()["history"]
    assert ("view", "item-5") in [(one["event_type"], one["item_id"]) for one in history]
    assert shop.errors == []


def test_tracker_when_a_customer_signs_in_and_clicks_then_the_cart_is_theirs(shop: Page, http: httpx.Client) -> None:
    shop.js("footfall.consent(true); footfall.identify('tracked-1')")
    shop.click("#add")
    shop.js("footfall.purchase('item-6', {quantity: 2, price: 250, order_id: 'o-1'})")
    shop.until(lambda: of_type(shop, "purchase"))
    (cart,) = of_type(shop, "cart")
    assert (cart["user_id"], cart["item_id"], cart["section"]) == ("tracked-1", "item-8", "shelf")
    assert cart["device_id"].startswith("anon-")
    assert [one["item_id"] for one in http.get("/v1/customers/tracked-1").json()["cart"]] == ["item-8"]
    again = http.post("/v1/events", json={"events": sent(shop)}).json()
    assert (again["accepted"], again["duplicates"]) == (0, len(sent(shop)))


def test_tracker_when_the_page_is_left_then_a_beacon_tells_how_long_it_was_looked_at(
    shop: Page, server: Server, http: httpx.Client
) -> None:
    shop.js("footfall.consent(true)")
    shop.settle(1.3)
    session = json.loads(shop.js("sessionStorage.getItem('footfall')"))["session"]
    # What a page sends as it goes is told to nobody, so a copy is kept.
    shop.js("""(() => {
      const real = navigator.sendBeacon.bind(navigator);
      navigator.sendBeacon = (url, body) => { sessionStorage.setItem("copy", body); return real(url, body); };
    })()""")
    shop.open(f"{server.url}/shop")
    dwelt = {one["section"]: one for one in json.loads(shop.js("sessionStorage.getItem('copy')"))["events"]}
    shop.js("sessionStorage.removeItem('copy')")
    assert dwelt["page"]["item_id"] == "item-5"
    assert 1000 <= dwelt["shelf"]["dwell_ms"] <= dwelt["page"]["dwell_ms"] < 20_000
    shop.settle(0.5)
    again = http.post("/v1/events", json={"events": list(dwelt.values())}).json()
    assert (again["accepted"], again["duplicates"]) == (0, 2)  # they had arrived
    # The visit goes on under its id once the next page has consent too.
    shop.js("footfall.consent(true)")
    assert json.loads(shop.js("sessionStorage.getItem('footfall')"))["session"] == session


def test_tracker_when_consent_is_withdrawn_then_its_storage_is_cleared_and_it_is_silent(shop: Page) -> None:
    shop.js("footfall.consent(true)")
    shop.until(lambda: of_type(shop, "view"))
    shop.js("footfall.consent(false)")
    shop.requests.clear()
    assert shop.js("localStorage.length + sessionStorage.length") == 0
    shop.click("#add")
    shop.js("footfall.cart('item-1')")
    shop.settle(0.6)
    assert shop.requests == []


def test_tracker_when_the_browser_says_no_then_consent_is_not_taken(shop: Page, server: Server) -> None:
    source = "Object.defineProperty(navigator, 'globalPrivacyControl', {value: true})"
    script = shop.send("Page.addScriptToEvaluateOnNewDocument", source=source)["identifier"]
    try:
        shop.open(f"{server.url}/shop")
        shop.requests.clear()
        assert shop.js("footfall.consent(true)") is False
        shop.settle(0.6)
        assert shop.requests == []
        shop.stand_in(f"{server.url}/shop", SHOP.replace("<script", "<script data-signals=ignore"))
        shop.open(f"{server.url}/shop")
        assert shop.js("footfall.consent(true)") is True
    finally:
        shop.js("footfall.consent(false)")
        shop.send("Page.removeScriptToEvaluateOnNewDocument", identifier=script)


def test_tracker_when_sending_fails_then_the_same_events_are_sent_again(shop: Page) -> None:
    shop.js("""(() => {
      const real = window.fetch;
      let number = 0;
      window.tried = [];
      window.fetch = (path, options) => {
        window.tried.push(JSON.parse(options.body).events.map((one) => one.event_id));
        number += 1;
        return number === 1 ? Promise.resolve(new Response("{}", {status: 429})) : real(path, options);
      };
      footfall.consent(true);
    })()""")
    shop.wait("window.tried.length > 1")
    first, second = shop.js("window.tried.slice(0, 2)")
    assert second[: len(first)] == first


def test_tracker_when_weighed_then_it_is_below_six_kilobytes() -> None:
    assert (ROOT / "serving/http/pages/tracker.js").stat().st_size < 6 * 1024
