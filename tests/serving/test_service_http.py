"""The real BentoML server over real HTTP: two workers, one store."""

from __future__ import annotations

import concurrent.futures
import json
import random
import re

import httpx
import pytest

from tests.serving.server_process import Server, error_of, view, workers_of

pytestmark = pytest.mark.xdist_group("server")


def new_connections(server: Server) -> httpx.Client:
    """A client that opens a connection a request, so that either worker may answer it."""
    return httpx.Client(base_url=server.url, timeout=30, limits=httpx.Limits(max_keepalive_connections=0))


def ids(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [item["item_id"] for item in answer.json()["items"]]


def test_recommend_when_asked_over_http_then_items_come_with_their_origin(http: httpx.Client) -> None:
    answer = http.post("/v1/recommend", json={"user_id": "user-1", "k": 3, "explain": True})
    body = answer.json()
    assert len(ids(answer)) == 3
    assert body["strategy"] == "history"
    assert set(body) == {
        *("items", "strategy", "personalised", "live_state"),
        *("release_id", "model_version", "unknown_items", "unread_event_types"),
    }
    assert set(body["items"][0]) - {"strategy"} == {"item_id", "score", "title", "reason", "because"}


def test_surfaces_when_asked_over_http_then_each_answers_and_says_why(http: httpx.Client) -> None:
    def answer(**request: object) -> dict[str, object]:
        found = http.post("/v1/recommend", json={"k": 4, "explain": True} | request)
        assert found.status_code == 200, found.text
        return found.json()

    assert answer(user_id="user-1", surface="for_you") == answer(user_id="user-1")
    similar = answer(surface="similar", item_id="item-4")
    assert similar["strategy"] == "similar"
    assert {item["reason"] for item in similar["items"]} == {"Similar to Thing number 4"}
    together = answer(surface="bought_together", item_id="item-20")
    assert [item["item_id"] for item in together["items"]] == ["item-21", "item-25", "item-22", "item-1"]
    assert together["items"][0]["reason"] == "Bought with Thing number 20 in 12 baskets"
    assert [item.get("strategy") for item in together["items"]] == [None, None, None, "complements"]
    assert error_of(http.post("/v1/recommend", json={"surface": "similar"}))[:2] == (422, "item_id_missing")


def test_purchase_when_acknowledged_then_it_is_bought_again_and_excluded_at_once(http: httpx.Client) -> None:
    def bought(**request: object) -> list[str]:
        return ids(http.post("/v1/recommend", json={"user_id": "buyer", "k": 200} | request))

    sent = http.post("/v1/events", json={"events": [view("buyer", "item-5", event_type="purchase")]})
    assert sent.json()["accepted"] == 1
    assert bought(surface="buy_it_again") == ["item-5"]
    assert "item-5" in bought(repeat="allow")
    assert "item-5" not in bought(repeat="exclude")


def test_each_endpoint_when_asked_well_then_it_answers(http: httpx.Client) -> None:
    assert len(http.get("/v1/customers").json()["user_ids"]) > 3
    assert http.get("/v1/customers/user-2").json()["profile"]["lifecycle"] == "dormant"
    segments = http.post("/v1/segments", json={"user_ids": ["user-2", "nobody"]}).json()
    assert segments["segments"]["user-2"] == {
        "lifecycle": "dormant",
        "favourite_category": None,
        "tag_vip": True,
        "tags": ["even"],
    }
    assert segments["unknown"] == ["nobody"]
    demand = http.post("/v1/demand", json={"item_ids": ["item-0"], "days": 2}).json()
    assert [period["day"] for period in demand["items"][0]["forecast"]] == ["2026-11-21", "2026-11-22"]
    assert http.get("/livez").status_code == http.get("/readyz").status_code == 200


def test_audiences_when_asked_over_http_then_they_are_listed_paged_and_previewed(http: httpx.Client) -> None:
    listed = http.get("/v1/audiences").json()
    assert {one["name"]: one["size"] for one in listed["audiences"]} == {"evens": 15, "few": None, "of_item": None}
    page = http.get("/v1/audiences/evens", params={"limit": 4}).json()
    rest = http.get("/v1/audiences/evens", params={"limit": 100, "after": page["next_after"]}).json()
    assert rest["next_after"] is None
    assert page["user_ids"] + rest["user_ids"] == sorted(f"user-{number}" for number in range(0, 30, 2))
    assert error_of(http.get("/v1/audiences/even"))[:2] == (404, "unknown_audience")
    assert error_of(http.get("/v1/audiences/evens", params={"limit": 0}))[:2] == (422, "invalid_request")
    counted = http.post("/v1/audiences/preview", json={"rule": {"column": "tags", "contains": "even"}}).json()
    assert (counted["size"], counted["of"], counted["rule"]) == (15, 30, "tags has even")
    assert error_of(http.post("/v1/audiences/preview", json={"rule": {"events": "view"}}))[:2] == (
        422,
        "events_not_at_hand",
    )


def test_customer_when_a_cart_event_is_acknowledged_then_the_next_lookup_shows_it(http: httpx.Client) -> None:
    sent = http.post("/v1/events", json={"events": [view("carter", "item-5", event_type="cart")]})
    assert sent.json()["accepted"] == 1
    answer = http.get("/v1/customers/carter").json()
    assert [(one["item_id"], one["live"]) for one in answer["cart"]] == [("item-5", True)]
    intent = answer["purchase_intent"]
    assert intent["probability"] == pytest.approx(0.5, abs=0.01)  # log odds of -2 at a view, 2 more with the cart
    assert intent["because"][0]["reason"] == "1 item in the cart"
    assert intent["session_started_at"] == intent["last_event_at"] == answer["cart"][0]["since"]
    http.post("/v1/events", json={"events": [view("carter", "item-5", event_type="remove_from_cart")]})
    assert http.get("/v1/customers/carter").json()["purchase_intent"]["probability"] == pytest.approx(0.12, abs=0.01)
    assert {"tags", "segments", "open_triggers", "best_hour", "as_of", "age_seconds"} <= set(answer)


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/v1/recommend", b'{"k": 100000}', (422, "invalid_request", "k: expected `int` <= 1000, found 100000.")),
        ("/v1/recommend", b'{"k": -1}', (422, "invalid_request", "k: expected `int` >= 1, found -1.")),
        ("/v1/recommend", b"{not json", (400, "invalid_json", "Expected a JSON object in UTF-8, found '{not json'")),
        ("/v1/recommend", b"", (400, "invalid_json", "Expected a JSON object in UTF-8, found ''")),
        (
            "/v1/recommend",
            b'{"events": [{"event_type": "view", "item_id": "nope"}]}',
            (422, "unknown_item", "expected at least one item of the release, found none, such as 'nope'"),
        ),
        (
            "/v1/recommend",
            b'{"surface": "upgrad"}',
            (422, "invalid_request", "trending, upgrade, found 'upgrad'. Did you mean 'upgrade'?"),
        ),
        ("/v1/recommend", b'{"repeat": "never"}', (422, "invalid_request", "repeat: expected one of allow, discount,")),
        ("/v1/recommend", b'{"filters": {"brand": "brand-77"}}', (422, "unknown_brand", "no brand 'brand-77'")),
        ("/v1/demand", b'{"item_ids": ["nope"]}', (404, "unknown_item", "no forecast for any of them")),
        ("/v1/demand", b'{"item_ids": []}', (422, "invalid_request", "Expected item_ids or what_if, found neither")),
        ("/v1/segments", b'{"user_ids": [1]}', (422, "invalid_request", "user_ids[0]: expected `str`, got `int`")),
        ("/v1/events", b'{"events": [{"user_id": "a"}]}', (422, "no_event_accepted", "missing required field")),
        ("/v1/recommend", b'{"user_id": "' + b"a" * 100_000 + b'"}', (413, "body_too_large", "at most 100000 bytes")),
    ],
)
def test_request_when_it_is_wrong_then_the_error_says_why(
    http: httpx.Client, path: str, body: bytes, expected: tuple[int, str, str]
) -> None:
    status, code, message = error_of(http.post(path, content=body))
    assert (status, code) == expected[:2]
    assert expected[2] in message


def test_request_when_its_body_is_chunked_and_too_large_then_it_is_refused(http: httpx.Client) -> None:
    answer = http.post("/v1/recommend", content=(b" " * 10_000 for _ in range(20)))
    assert error_of(answer)[:2] == (413, "body_too_large")


def test_request_when_nothing_is_there_then_the_error_is_json_too(http: httpx.Client) -> None:
    assert error_of(http.get("/v1/customers/no%2Fsuch user"))[:2] == (404, "unknown_user")
    assert error_of(http.get("/nothing/here"))[:2] == (404, "not_found")
    assert error_of(http.put("/v1/recommend"))[:2] == (405, "method_not_allowed")


def test_erase_when_no_id_is_given_then_nobody_is_reported_as_forgotten(http: httpx.Client) -> None:
    assert error_of(http.delete("/v1/customers/"))[:2] == (422, "invalid_request")


def test_requests_when_bodies_are_random_then_none_is_answered_with_a_500(http: httpx.Client) -> None:
    rng = random.Random(0)
    paths = ["/v1/recommend", "/v1/events", "/v1/segments", "/v1/demand"]
    values = [None, True, -1, 1e300, "", "x" * 300, "\x00", "\ud7ff", [], [[]], {}, {"a": 1}, ["user-1"], [None]]
    values += [[{"item_id": "item-1", "plan": {"price": worth}}] for worth in (1e300, -1, None, "1", 3)]
    fields = [
        "user_id",
        "events",
        "k",
        "filters",
        "user_ids",
        "item_ids",
        "days",
        "what_if",
        "exclude_seen",
        "surface",
        "item_id",
        "repeat",
    ]
    for _ in range(300):
        body = {rng.choice(fields): rng.choice(values) for _ in range(rng.randint(0, 3))}
        answer = http.post(rng.choice(paths), content=json.dumps(body))
        assert answer.status_code in (200, 400, 404, 422), (body, answer.text)
        assert answer.status_code == 200 or answer.json()["error"]["message"]


def test_event_when_acknowledged_then_the_next_answer_of_any_worker_sees_it(server: Server) -> None:
    clients = [httpx.Client(base_url=server.url, timeout=30) for _ in range(24)]
    with concurrent.futures.ThreadPoolExecutor(24) as threads:
        list(threads.map(lambda client: client.get("/v1/customers"), clients))
    connected = [any(c.status == "ESTABLISHED" for c in worker.net_connections()) for worker in workers_of(server)]
    assert connected == [True, True]  # the clients' open connections are spread over both workers
    rng = random.Random(1)
    sold_out = {7, 36, 65, 94, 123, 152, 181}
    for trial in range(100):
        item = rng.choice([number for number in range(200) if number not in sold_out])
        sender, asker = rng.sample(clients, 2)
        sent = sender.post("/v1/events", json={"events": [view(f"trial-{trial}", f"item-{item}")]})
        assert sent.json()["accepted"] == 1
        assert ids(asker.post("/v1/recommend", json={"user_id": f"trial-{trial}", "k": 1})) == [f"item-{item}"]
    for client in clients:
        client.close()


def test_events_when_sent_again_then_they_count_once(http: httpx.Client) -> None:
    batch = {"events": [view("again", "item-1", event_id=f"again-{n}", ts="2026-11-20T10:00:00Z") for n in range(5)]}
    assert http.post("/v1/events", json=batch).json() == {
        "accepted": 5,
        "duplicates": 0,
        "rejected": [],
        "without_consent": 0,
        "unread_event_types": [],
        "unknown_items": [],
    }
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: httpx.post(f"{http.base_url}/v1/events", json=batch), range(8)))
    assert all(answer.json()["duplicates"] == 5 for answer in answers)
    assert len(http.get("/v1/customers/again").json()["history"]) == 5
    same = {"events": [view("again", "item-2", ts="2026-11-20T11:00:00+01:00")]}
    assert [http.post("/v1/events", json=same).json()["accepted"] for _ in range(2)] == [1, 0]


def test_erase_when_done_then_every_worker_forgets_at_once(server: Server) -> None:
    with new_connections(server) as client:
        for user in (f"user-{number}" for number in range(10, 20)):
            client.post("/v1/events", json={"events": [view(user, "item-1")]}).raise_for_status()
            assert client.delete(f"/v1/customers/{user}").json()["live_events_deleted"] == 1
            for _ in range(4):
                assert error_of(client.get(f"/v1/customers/{user}"))[:2] == (404, "unknown_user")
                answer = client.post("/v1/recommend", json={"user_id": user}).json()
                assert answer["strategy"] == "favourites"
            refused = client.post("/v1/events", json={"events": [view(user, "item-1")]})
            assert "erased" in error_of(refused)[2]


def test_openapi_when_read_then_it_describes_what_is_answered(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()
    assert set(document["paths"]) >= {"/v1/recommend", "/v1/events", "/v1/customers/{user_id}", "/v1/demand"}
    assert set(document["paths"]["/v1/customers/{user_id}"]) == {"get", "delete"}
    k = document["components"]["schemas"]["RecommendRequest"]["properties"]["k"]
    assert (k["minimum"], k["maximum"], k["default"]) == (1, 1000, 20)
    named = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(document)))
    assert named <= set(document["components"]["schemas"])


def test_metrics_when_scraped_then_workers_add_up_and_no_user_is_named(server: Server) -> None:
    client = new_connections(server)

    def count() -> float:
        text = client.get("/metrics").text
        found = re.search(r'footfall_recommend_seconds_count\{strategy="history",surface="for_you"\} (\S+)', text)
        return float(found[1]) if found else 0.0

    before = count()
    for _ in range(20):
        client.post("/v1/recommend", json={"user_id": "user-1"})
        client.get("/v1/customers/user-1")
    assert count() == before + 20
    text = client.get("/metrics").text
    client.close()
    assert 'route="/v1/customers/{user_id}",status="200"' in text
    assert "user-1" not in text
    assert "user-1" not in server.log.read_text()
