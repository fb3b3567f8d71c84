"""The console in a real browser, by keys as well as clicks, against the real server."""

from __future__ import annotations

import re
import time

import httpx
import pytest

from serving.http.pages import PAGES
from tests.browser import Page
from tests.serving.server_process import Server, error_of

pytestmark = pytest.mark.xdist_group("server")
LISTED = (
    "document.querySelectorAll('#items li[tabindex]').length > 3 && document.querySelector('main').ariaBusy === 'false'"
)


@pytest.fixture
def console(browser: Page, server: Server) -> Page:
    browser.size(1280, 900)
    browser.errors.clear()
    browser.requests.clear()
    browser.open(f"{server.url}/#user=user-1")
    browser.wait(LISTED)
    return browser


def test_console_when_opened_then_it_shows_the_customer_and_asks_nobody_else(console: Page, server: Server) -> None:
    console.wait("document.querySelectorAll('#profile dd').length > 0")
    console.open(f"{server.url}/#user=user-0")
    console.wait("document.querySelector('#profile').innerText.includes('€48.31')")
    console.wait("document.body.innerText.includes('score')")  # lists come by a call of their own
    text = console.text()
    for words in ("Stage\nnew", "Average basket\n€48.31", "Vip\nyes", "Thing number", "score"):
        assert words in text
    assert "Spent in all" not in text  # user-0's is not known
    assert {httpx.URL(one["url"]).netloc.decode() for one in console.requests} == {
        httpx.URL(server.url).netloc.decode()
    }
    assert console.errors == []


def test_console_when_only_keys_are_used_then_all_of_it_can_be_reached(console: Page, http: httpx.Client) -> None:
    console.type("/")
    assert console.js("document.activeElement.id") == "find"
    console.type("user-2")
    console.wait("document.querySelectorAll('#found [role=option]').length > 1")
    console.press("Escape")
    assert console.js("document.querySelector('#found').hidden")
    console.type("1")
    console.wait("document.querySelector('#found').innerText.includes('user-21')")
    console.press("ArrowDown")
    assert console.js("document.querySelector('#found [aria-selected=true]').innerText").startswith("user-21")
    console.press("Enter")
    console.wait("location.hash === '#user=user-21' && " + LISTED)
    console.js("document.querySelector('#surfaces [aria-selected=true]').focus()")
    console.press("ArrowRight")
    console.wait("location.hash.includes('buy_it_again')")
    console.press("ArrowLeft")
    console.wait("document.activeElement.dataset.surface === 'for_you' && " + LISTED)

    console.js("document.querySelector('#items li').focus()")
    console.press("ArrowDown")
    item = console.js("document.activeElement.dataset.item")
    assert console.js("document.activeElement === document.querySelector('#items li:nth-child(2)')")
    console.type("c")
    console.wait("document.querySelector('#said').innerText.includes('came in')")
    console.wait("document.querySelector('#cart').innerText.includes('live')")
    assert item in [one["item_id"] for one in http.get("/v1/customers/user-21").json()["cart"]]
    assert console.js("document.activeElement.matches('#items li')")  # what was acted on, or what took its place

    opened = console.js("document.activeElement.dataset.item")
    console.press("Enter")
    console.wait(f"location.hash.includes('item={opened}') && document.activeElement.id === 'item-title'")
    console.press("Escape")
    console.wait(f"!location.hash.includes('item=') && {LISTED}")
    assert console.errors == []


def test_console_when_an_item_is_opened_then_neighbours_and_forecast_are_there(console: Page, server: Server) -> None:
    console.open(f"{server.url}/#user=user-1&item=item-4")
    console.wait("document.querySelector('svg.plot') !== null")
    console.wait("document.querySelector('[data-surface=bought_together]').innerText.includes('in 12 baskets')")
    text = console.text()
    for words in ("Thing number 4", "brand-4", "toys", "Reorder point", "Similar to Thing number 4"):
        assert words in text
    assert "Forecast from 2026-11-21" in console.js("document.querySelector('svg.plot').getAttribute('aria-label')")
    points = console.js("document.querySelector('svg .mean').getAttribute('points').split(' ').length")
    assert points == 14  # the days of the tiny release


def listed(http: httpx.Client, **asked: str) -> list[str]:
    return [one["item_id"] for one in http.post("/v1/recommend", json={"k": 12, **asked}).json()["items"]]


def test_console_when_another_release_is_held_then_both_lists_stand_side_by_side(
    console: Page, server: Server, http: httpx.Client
) -> None:
    deadline = time.monotonic() + 20
    # Read aside once the service is ready, by each worker: each connection may meet another one.
    while any(len(httpx.get(f"{server.url}/v1/releases").json()["held"]) < 2 for _ in range(4)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    releases = http.get("/v1/releases").json()
    [other] = [one for one in releases["held"] if one != releases["release_id"]]
    for number in range(30):
        user = f"user-{number}"
        lists = [listed(http, user_id=user), listed(http, user_id=user, release_id=other)]
        moves = {one: lists[1].index(one) - rank for rank, one in enumerate(lists[0]) if one in lists[1]}
        if any(moves.values()):
            break
    console.open(f"{server.url}/#user={user}")
    console.wait("document.querySelector('#beside').options.length === 2")
    console.js("document.querySelector('#beside').focus()")
    console.press("ArrowDown")
    console.wait("document.querySelectorAll('#other-items li').length === 12")
    shown = [
        console.js(f"[...document.querySelectorAll('{where} li')].map((one) => [one.dataset.item, one.innerText])")
        for where in ("#items", "#other-items")
    ]
    assert [[item for item, _ in lines] for lines in shown] == lists
    for lines, others in zip(shown, reversed(lists), strict=True):
        assert [item for item, text in lines if "only here" in text] == [one for one, _ in lines if one not in others]
    for item, text in shown[0]:
        if moves.get(item):
            assert f"{'▲' if moves[item] > 0 else '▼'}{abs(moves[item])}" in text
    assert any(moves.values())
    assert console.errors == []


@pytest.mark.parametrize("dark", [False, True])
def test_console_when_shown_on_a_phone_then_nothing_is_wider_than_it(console: Page, server: Server, dark: bool) -> None:
    console.size(375, 812, dark=dark)
    for path in ("/#user=user-1", "/#item=item-20", "/docs"):
        console.open(server.url + path)
        console.wait("document.body.innerText.length > 300")
        console.settle(0.2)
        assert console.js("document.documentElement.scrollWidth") <= 375
    colours = [console.js(f"getComputedStyle(document.body).{name}") for name in ("color", "backgroundColor")]
    ink, ground = (int(re.findall(r"\d+", colour)[0]) for colour in colours)  # red: rgb(29, ... on rgb(246, ...
    assert (ink > ground) == dark


def test_console_when_a_key_is_asked_for_then_it_is_used_and_kept_in_this_tab_alone(console: Page) -> None:
    console.js("""(() => {
      const real = window.fetch;
      window.fetch = async (path, options) => options.headers.authorization === "Bearer ft_1" ? real(path, options)
        : new Response(JSON.stringify({error: {code: "key_missing", message: "Expected a key."}}), {status: 401});
      window.found = null;
      import("/page.js").then(({call}) => call("GET", "/v1/releases")).then((answer) => { window.found = answer; });
    })()""")
    console.wait("document.querySelector('dialog[open]') !== null")
    assert "Expected a key." in console.js("document.querySelector('dialog').innerText")
    console.type("ft_1")
    console.press("Enter")
    assert console.wait("window.found")["held"]
    assert console.js("sessionStorage.getItem('footfall-key')") == "ft_1"
    assert console.js("localStorage.length + document.cookie.length") == 0
    console.js("sessionStorage.clear()")


def test_lists_when_a_title_is_hostile_then_it_is_text(console: Page) -> None:
    made = console.js("""import("/lists.js").then(({plainLine, recommended}) => {
      const title = "<img src=x onerror=alert(1)>";
      return plainLine("<b>", {title, open() {}}).outerHTML
        + recommended({item_id: "<i>", title, score: 1, reason: title}, {rank: 1, strategy: title, open() {}}).outerHTML;
    })""")
    assert "<img" not in made
    touched = console.js("""import("/lists.js").then(({recommended}) => recommended(
      {item_id: "i", score: 1, rules: [{rule: "summer_sale", effect: "pin"}]}, {rank: 1, strategy: "history", open() {}}).textContent)""")
    assert "pinned: summer sale" in touched
    assert "&lt;img" in made


def test_docs_when_opened_then_calls_and_types_are_listed(console: Page, server: Server) -> None:
    console.open(f"{server.url}/docs")
    console.wait("document.querySelectorAll('#calls details').length > 10")
    text = console.js("document.body.textContent")
    assert "/v1/recommend" in text
    assert "NewEvent" in text
    assert console.errors == []


def test_pages_when_fetched_then_they_allow_their_own_scripts_alone(http: httpx.Client) -> None:
    for path in PAGES:
        page = http.get(path)
        assert page.status_code == 200
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert not re.search(
            r"(?:src|href|url)\s*[=(]\s*[\"']?(?:https?:)?//", page.text.replace("https://footfall.example", "")
        )
    assert http.get("/console.js").headers["content-type"] == "text/javascript; charset=utf-8"


def test_recommend_when_a_release_is_named_then_it_answers_and_an_unknown_one_is_refused(http: httpx.Client) -> None:
    releases = http.get("/v1/releases").json()
    assert releases["release_id"] in releases["held"]
    named = http.post("/v1/recommend", json={"user_id": "user-1", "release_id": releases["release_id"]}).json()
    assert named["release_id"] == releases["release_id"]
    unknown = http.post("/v1/recommend", json={"user_id": "user-1", "release_id": "nope"})
    assert error_of(unknown)[:2] == (404, "unknown_release")
    assert releases["release_id"] in error_of(unknown)[2]
