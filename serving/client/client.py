"""The client, waiting and awaited: one connection pool, timeouts, and retries that respect `Retry-After`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, Final, TypeVar

import httpx
import msgspec

from serving.api.customer_schemas import CustomerAnswer, SegmentsAnswer
from serving.api.demand_schemas import AlertsAnswer, AlertsRequest, DemandAnswer, DemandRequest
from serving.api.item_schemas import ItemsAnswer, ItemSearch
from serving.api.rights_schemas import ConsentAnswer, ConsentRequest, ErasureAnswer
from serving.api.schemas import Answer, EventsAnswer, NewEvent, RecommendAnswer, RecommendRequest
from serving.client import calls
from serving.client.calls import Call
from serving.client.errors import UNREACHABLE, CallError
from serving.client.retries import Plan, Retries

T = TypeVar("T", bound=Answer)
_DEFAULT: Final = Retries()


class Footfall:
    """Calls the service; safe to use from several threads.

    Args:
        url: such as http://127.0.0.1:3000.
        key: API key, where the service asks for one.
        timeout_seconds: an attempt that waits for so long has failed.
        deadline_seconds: of a whole call: no attempt begins later, and none gets more time than is left.
        retries: when a call is made again.
        transport: instead of the network, for tests.

    Every call raises CallError where the service refuses it, cannot be reached, or something else answers in its place.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str = "",
        timeout_seconds: float = 5.0,
        deadline_seconds: float = 10.0,
        retries: Retries = _DEFAULT,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        headers = _headers(key)
        self._http = httpx.Client(base_url=url, headers=headers, transport=transport)
        self._plan = Plan(retries=retries, timeout_seconds=timeout_seconds, deadline_seconds=deadline_seconds)

    def __enter__(self) -> Footfall:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def recommend(self, request: RecommendRequest | None = None, /, **fields: Any) -> RecommendAnswer:
        """Return what to show: a request, or its fields, such as ``user_id="ann", k=5``."""
        return self.call(calls.recommend(request or RecommendRequest(**fields)))

    def send(self, events: Iterable[NewEvent]) -> EventsAnswer:
        """Send events, at most 1,000; each counts once, however often it had to be sent."""
        return self.call(calls.send(events))

    def consent(self, request: ConsentRequest) -> ConsentAnswer:
        """Keep a customer's yes or no to a purpose."""
        return self.call(calls.consent(request))

    def customer(self, user_id: str) -> CustomerAnswer:
        """Return what is known of a customer."""
        return self.call(calls.customer(user_id))

    def erase(self, user_id: str) -> ErasureAnswer:
        """Forget a customer."""
        return self.call(calls.erase(user_id))

    def segments(self, user_ids: Sequence[str]) -> SegmentsAnswer:
        """Return segments and tags of many customers."""
        return self.call(calls.segments(user_ids))

    def items(self, item_ids: Sequence[str]) -> ItemsAnswer:
        """Return what is known of several items."""
        return self.call(calls.items(item_ids))

    def search_items(self, search: str, *, limit: int = 20) -> ItemsAnswer:
        """Return items by words of their ids and titles."""
        return self.call(calls.search_items(ItemSearch(search=search, limit=limit)))

    def demand(self, request: DemandRequest | None = None, /, **fields: Any) -> DemandAnswer:
        """Return forecasts and decisions: a request, or its fields."""
        return self.call(calls.demand(request or DemandRequest(**fields)))

    def alerts(self, request: AlertsRequest | None = None, /, **fields: Any) -> AlertsAnswer:
        """Return what a merchandiser should look at: a request, or its fields."""
        return self.call(calls.alerts(request or AlertsRequest(**fields)))

    def call(self, call: Call[T]) -> T:
        """Make a call, again where that may help."""
        attempts = self._plan.begin()
        while True:
            try:
                return _answer(call, self._http.request(call.method, call.path, **attempts.next(call)))
            except httpx.RequestError as error:
                failed = _unreachable(error)
            except CallError as error:
                failed = error
            time.sleep(attempts.pause(failed))


class AsyncFootfall:
    """The same, awaited; arguments are those of ``Footfall``."""

    def __init__(
        self,
        url: str,
        *,
        key: str = "",
        timeout_seconds: float = 5.0,
        deadline_seconds: float = 10.0,
        retries: Retries = _DEFAULT,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        headers = _headers(key)
        self._http = httpx.AsyncClient(base_url=url, headers=headers, transport=transport)
        self._plan = Plan(retries=retries, timeout_seconds=timeout_seconds, deadline_seconds=deadline_seconds)

    async def __aenter__(self) -> AsyncFootfall:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def recommend(self, request: RecommendRequest | None = None, /, **fields: Any) -> RecommendAnswer:
        """Return what to show: a request, or its fields, such as ``user_id="ann", k=5``."""
        return await self.call(calls.recommend(request or RecommendRequest(**fields)))

    async def send(self, events: Iterable[NewEvent]) -> EventsAnswer:
        """Send events, at most 1,000; each counts once, however often it had to be sent."""
        return await self.call(calls.send(events))

    async def consent(self, request: ConsentRequest) -> ConsentAnswer:
        """Keep a customer's yes or no to a purpose."""
        return await self.call(calls.consent(request))

    async def customer(self, user_id: str) -> CustomerAnswer:
        """Return what is known of a customer."""
        return await self.call(calls.customer(user_id))

    async def erase(self, user_id: str) -> ErasureAnswer:
        """Forget a customer."""
        return await self.call(calls.erase(user_id))

    async def segments(self, user_ids: Sequence[str]) -> SegmentsAnswer:
        """Return segments and tags of many customers."""
        return await self.call(calls.segments(user_ids))

    async def items(self, item_ids: Sequence[str]) -> ItemsAnswer:
        """Return what is known of several items."""
        return await self.call(calls.items(item_ids))

    async def search_items(self, search: str, *, limit: int = 20) -> ItemsAnswer:
        """Return items by words of their ids and titles."""
        return await self.call(calls.search_items(ItemSearch(search=search, limit=limit)))

    async def demand(self, request: DemandRequest | None = None, /, **fields: Any) -> DemandAnswer:
        """Return forecasts and decisions: a request, or its fields."""
        return await self.call(calls.demand(request or DemandRequest(**fields)))

    async def alerts(self, request: AlertsRequest | None = None, /, **fields: Any) -> AlertsAnswer:
        """Return what a merchandiser should look at: a request, or its fields."""
        return await self.call(calls.alerts(request or AlertsRequest(**fields)))

    async def call(self, call: Call[T]) -> T:
        """Make a call, again where that may help."""
        attempts = self._plan.begin()
        while True:
            try:
                return _answer(call, await self._http.request(call.method, call.path, **attempts.next(call)))
            except httpx.RequestError as error:
                failed = _unreachable(error)
            except CallError as error:
                failed = error
            await asyncio.sleep(attempts.pause(failed))


def _headers(key: str) -> dict[str, str]:
    headers = {"content-type": "application/json", "accept": "application/json", "user-agent": "footfall-python/1"}
    return headers | ({"authorization": f"Bearer {key}"} if key else {})


def _answer(call: Call[T], answered: httpx.Response) -> T:
    if answered.is_success:
        try:
            return msgspec.json.decode(answered.content, type=call.answer)
        except msgspec.MsgspecError:
            raise CallError.foreign(answered.status_code) from None
    seconds = answered.headers.get("retry-after", "")
    wait = float(seconds) if seconds.isdecimal() else None
    raise CallError.of(answered.status_code, answered.content, wait)


def _unreachable(error: httpx.RequestError) -> CallError:
    if isinstance(error, httpx.DecodingError):
        return CallError.foreign(0)
    return CallError(
        0, UNREACHABLE, f"The service did not answer ({type(error).__name__}); check its address, and that it runs."
    )
