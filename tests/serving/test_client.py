"""The Python client against the real server, and against answers that a server gives in need."""

from __future__ import annotations

import asyncio

import httpx
import msgspec
import pytest

from serving.api.rights_schemas import ConsentRequest
from serving.api.schemas import NewEvent
from serving.client import AsyncFootfall, CallError, Footfall, Retries
from tests.serving.server_process import Server, free_port

pytestmark = pytest.mark.xdist_group("server")
QUICK = Retries(first_seconds=0.001)


def test_client_when_it_calls_the_server_then_answers_are_typed(server: Server) -> None:
    with Footfall(server.url) as footfall:
        sent = footfall.send([NewEvent(user_id="client-1", event_type="cart", item_id="item-5")])
        assert (sent.accepted, sent.duplicates) == (1, 0)
        assert [one.item_id for one in footfall.customer("client-1").cart] == ["item-5"]
        answer = footfall.recommend(user_id="client-1", k=3, explain=True)
        assert len(answer.items) == 3
        assert answer.items[0].reason
        assert footfall.segments(["user-2", "nobody/at all"]).unknown == ["nobody/at all"]
        assert footfall.items(["item-5"]).items[0].title == "Thing number 5"
        assert footfall.search_items("number 19", limit=2).items[0].item_id == "item-19"
        assert footfall.demand(item_ids=("item-0",), days=2).items[0].forecast[0].mean > 0
        assert footfall.alerts(kind="riser").alerts[0].item_id == "item-9"
        said = footfall.consent(ConsentRequest(user_id="client/2", purpose="analytics", granted=False))
        assert not said.consents["analytics"].holds
        assert footfall.erase("client-1").live_events_deleted == 1
        with pytest.raises(CallError, match="No customer has this id") as error:
            footfall.customer("client/unknown")
        assert (error.value.status, error.value.code) == (404, "unknown_user")


def test_client_when_awaited_then_it_answers_the_same(server: Server) -> None:
    async def both() -> tuple[list[str], list[str]]:
        async with AsyncFootfall(server.url) as footfall:
            one, other = await asyncio.gather(
                footfall.recommend(user_id="user-1"), footfall.recommend(user_id="user-2")
            )
            return [item.item_id for item in one.items], [item.item_id for item in other.items]

    with Footfall(server.url) as footfall:
        expected = tuple([item.item_id for item in footfall.recommend(user_id=u).items] for u in ("user-1", "user-2"))
    assert asyncio.run(both()) == expected


def test_client_when_the_server_is_saturated_then_it_waits_as_asked_and_sends_the_same_ids(monkeypatch) -> None:
    seen, slept = [], []
    monkeypatch.setattr("serving.client.client.time.sleep", slept.append)

    def answered(request: httpx.Request) -> httpx.Response:
        seen.append(msgspec.json.decode(request.content)["events"][0])
        if len(seen) == 1:
            error = {"error": {"code": "saturated", "message": "Wait."}}
            return httpx.Response(429, json=error, headers={"retry-after": "2"})
        if len(seen) == 2:
            raise httpx.ReadTimeout("lost on the way back")
        return httpx.Response(200, json={"accepted": 0, "duplicates": 1})

    with Footfall("http://shop", key="k", retries=QUICK, transport=httpx.MockTransport(answered)) as footfall:
        assert footfall.send([NewEvent(user_id="a", event_type="view", item_id="i")]).duplicates == 1
    assert slept[0] == 2.0
    assert slept[1] < 0.01
    assert seen[0] == seen[1] == seen[2]
    assert len(seen[0]["event_id"]) == 36


def test_client_when_it_is_no_use_then_the_error_comes_at_once() -> None:
    calls = []

    def answered(request: httpx.Request) -> httpx.Response:
        calls.append(request.headers["authorization"])
        if request.url.path == "/v1/recommend":
            return httpx.Response(429, headers={"retry-after": "3600"}, content=b"<html>busy</html>")
        return httpx.Response(422, json={"error": {"code": "invalid_request", "message": "k: expected less."}})

    with Footfall("http://shop", key="k1", transport=httpx.MockTransport(answered)) as footfall:
        with pytest.raises(CallError, match="not the service's own") as error:
            footfall.recommend(user_id="a")
        assert (error.value.code, error.value.retry_after_seconds) == ("http_429", 3600.0)
        with pytest.raises(CallError, match="expected less"):
            footfall.demand(item_ids=("a",))
    assert calls == ["Bearer k1", "Bearer k1"]


@pytest.mark.parametrize(
    ("headers", "content", "code"),
    [
        ({"content-type": "text/html"}, b"<html>Sign in</html>", "http_200"),
        ({"content-encoding": "gzip"}, b"not gzip", "foreign_answer"),
        ({}, b'{"items": 3}', "http_200"),
    ],
)
def test_client_when_something_else_answers_in_its_place_then_that_is_a_call_error_too(
    headers: dict[str, str], content: bytes, code: str
) -> None:
    asked = []

    def answered(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, headers=headers, stream=httpx.ByteStream(content))

    async def awaited() -> None:
        async with AsyncFootfall("http://shop", transport=httpx.MockTransport(answered)) as footfall:
            await footfall.recommend(user_id="a")

    with Footfall("http://shop", transport=httpx.MockTransport(answered)) as footfall:
        with pytest.raises(CallError, match="not the service's own") as error:
            footfall.recommend(user_id="a")
        with pytest.raises(CallError, match="not the service's own"):
            asyncio.run(awaited())
    assert error.value.code == code
    assert len(asked) == 2


def test_client_when_time_is_up_then_no_further_attempt_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, given = [0.0], []
    monkeypatch.setattr("serving.client.retries.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("serving.client.client.time.sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))

    def answered(request: httpx.Request) -> httpx.Response:
        given.append(request.extensions["timeout"]["read"])
        clock[0] += given[-1]
        raise httpx.ReadTimeout("nothing came")

    retries = Retries(times=9, first_seconds=1.0)
    with (
        Footfall("http://shop", deadline_seconds=12.0, retries=retries, transport=httpx.MockTransport(answered)) as one,
        pytest.raises(CallError, match="did not answer"),
    ):
        one.recommend(user_id="a")
    # 5 s, a pause of .5 to 1.5 s, 5 s more; then a pause of 1 to 3 s, and what is left or nothing.
    assert given[:2] == [5.0, 5.0]
    assert sum(given) <= clock[0] <= 12.0


def test_client_when_nobody_listens_then_the_error_says_so() -> None:
    with (
        Footfall(f"http://127.0.0.1:{free_port()}", retries=Retries(times=1, first_seconds=0.001)) as footfall,
        pytest.raises(CallError, match="did not answer") as error,
    ):
        footfall.recommend(user_id="a")
    assert (error.value.status, error.value.code) == (0, "unreachable")
