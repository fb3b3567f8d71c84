"""Bodies that do not fit: the answer says what was expected, what was found and where."""

from __future__ import annotations

import contextlib

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.api.decoding import decode_body
from serving.api.errors import RequestError
from serving.api.schemas import EventsRequest, RecommendRequest


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b'{"k": 5000}', 422, "k: expected `int` <= 1000, found 5000."),
        (b'{"k": 0}', 422, "k: expected `int` >= 1, found 0."),
        (b'{"k": "ten"}', 422, "k: expected `int`, got `str`."),
        (b'{"k": true}', 422, "k: expected `int`, got `bool`."),
        (b'{"user_id": ""}', 422, "user_id: expected `str` of length >= 1, found ''."),
        (b'{"user": "a"}', 422, "Object contains unknown field `user`. Did you mean 'user_id'?"),
        (b'{"filters": {"brand": "' + b"a" * 2000 + b'"}}', 422, "filters.brand: expected `str` of length <= 1024"),
        (b"[]", 422, "body: expected `object`, got `array`."),
        (
            b'{"events": [{"event_type": "vew", "item_id": "a"}]}',
            422,
            "found 'vew'. Did you mean 'view'?",
        ),
        (
            b'{"events": [{"event_type": "view", "item_id": "a", "ts": "2026-11-22"}]}',
            422,
            "events[0].ts: invalid RFC3339 encoded datetime, found '2026-11-22'.",
        ),
        (b'{"k": ', 400, "Expected a JSON object in UTF-8, found"),
        (b"", 400, "Expected a JSON object in UTF-8, found ''"),
        (b"\xff\xfe", 400, "Expected a JSON object in UTF-8, found"),
        (b'{"k": 0, ', 400, "Expected a JSON object in UTF-8, found"),
        (b'{"k": 0, "user_id": "\xff"}', 400, "Expected a JSON object in UTF-8, found"),
        (b'{"k": 0, "events": ' + b"[" * 100_000, 400, "Expected a JSON object in UTF-8, found"),
        (b'{"k": 0, "events": 1e999}', 400, "Expected a JSON object in UTF-8, found"),
    ],
)
def test_decode_body_when_it_does_not_fit_then_the_error_says_what_and_where(
    body: bytes, status: int, message: str
) -> None:
    with pytest.raises(RequestError) as refused:
        decode_body(body, RecommendRequest)
    assert refused.value.status == status
    assert message in str(refused.value)


def test_decode_body_when_it_is_nested_without_end_then_it_is_the_callers_error() -> None:
    with pytest.raises(RequestError, match="Expected a JSON object in UTF-8, found"):
        decode_body(b'{"events": ' + b"[" * 100_000, EventsRequest)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from([*RecommendRequest.__struct_fields__, "other"])


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.binary(max_size=40) | st.dictionaries(FIELDS, JSON, max_size=4).map(msgspec.json.encode))
def test_decode_body_when_anything_is_sent_then_it_is_a_request_or_the_callers_error(body: bytes) -> None:
    with contextlib.suppress(RequestError):
        assert isinstance(decode_body(body, RecommendRequest), RecommendRequest)
