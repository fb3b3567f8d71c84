"""The calls as data: what is sent, and the type of what comes back."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from serving.api.customer_schemas import CustomerAnswer, SegmentsAnswer, SegmentsRequest
from serving.api.demand_schemas import AlertsAnswer, AlertsRequest, DemandAnswer, DemandRequest
from serving.api.item_schemas import ItemsAnswer, ItemSearch, ItemsRequest
from serving.api.rights_schemas import ConsentAnswer, ConsentRequest, ErasureAnswer
from serving.api.schemas import (
    Answer,
    EventsAnswer,
    EventsRequest,
    NewEvent,
    RecommendAnswer,
    RecommendRequest,
    Request,
)

T = TypeVar("T", bound=Answer)
_encode: Final = msgspec.json.Encoder().encode


@dataclass(frozen=True, kw_only=True)
class Call(Generic[T]):
    """One call.

    Args:
        method, path: of HTTP; the path with its query.
        answer: the type of a good answer.
        body: JSON, if there is one.
    """

    method: str
    path: str
    answer: type[T]
    body: bytes | None = None


def recommend(request: RecommendRequest) -> Call[RecommendAnswer]:
    """What to show."""
    return _post("/v1/recommend", request, RecommendAnswer)


def send(events: Iterable[NewEvent]) -> Call[EventsAnswer]:
    """Keep events; those without an id or an instant get them here, so that a retry counts once."""
    return _post("/v1/events", EventsRequest(events=tuple(with_ids(events))), EventsAnswer)


def consent(request: ConsentRequest) -> Call[ConsentAnswer]:
    """A customer's yes or no; without an instant it gets one here, so that a retry says the same."""
    at = request.at or dt.datetime.now(dt.UTC)
    return _post("/v1/consents", msgspec.structs.replace(request, at=at), ConsentAnswer)


def customer(user_id: str) -> Call[CustomerAnswer]:
    """What is known of a customer."""
    return Call(method="GET", path=_customer(user_id), answer=CustomerAnswer)


def erase(user_id: str) -> Call[ErasureAnswer]:
    """Forget a customer."""
    return Call(method="DELETE", path=_customer(user_id), answer=ErasureAnswer)


def segments(user_ids: Sequence[str]) -> Call[SegmentsAnswer]:
    """Segments and tags of many customers."""
    return _post("/v1/segments", SegmentsRequest(user_ids=tuple(user_ids)), SegmentsAnswer)


def items(item_ids: Sequence[str]) -> Call[ItemsAnswer]:
    """What is known of items."""
    return _post("/v1/items", ItemsRequest(item_ids=tuple(item_ids)), ItemsAnswer)


def search_items(request: ItemSearch) -> Call[ItemsAnswer]:
    """Items by words."""
    return _get("/v1/items", request, ItemsAnswer)


def demand(request: DemandRequest) -> Call[DemandAnswer]:
    """Forecasts and decisions."""
    return _post("/v1/demand", request, DemandAnswer)


def alerts(request: AlertsRequest) -> Call[AlertsAnswer]:
    """What to order, protect, mark down or stock up on."""
    return _get("/v1/demand/alerts", request, AlertsAnswer)


def with_ids(events: Iterable[NewEvent]) -> list[NewEvent]:
    """Return events that each have an id and an instant; keep them where you send again later by yourself."""
    now = dt.datetime.now(dt.UTC)
    return [
        msgspec.structs.replace(one, event_id=one.event_id or str(uuid.uuid4()), ts=one.ts or now) for one in events
    ]


def _customer(user_id: str) -> str:
    return f"/v1/customers/{quote(user_id, safe='')}"


def _post(path: str, request: Request, answer: type[T]) -> Call[T]:
    return Call(method="POST", path=path, answer=answer, body=_encode(request))


def _get(path: str, request: Request, answer: type[T]) -> Call[T]:
    given: dict[str, Any] = {name: value for name, value in msgspec.to_builtins(request).items() if value is not None}
    return Call(method="GET", path=f"{path}?{urlencode(given)}", answer=answer)
