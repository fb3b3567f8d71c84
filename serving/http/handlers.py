"""The calls: a body is decoded, the engine answers on the thread that such work has, the answer is written."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Final, TypeVar

from serving import timings
from serving.api.customer_schemas import MembersRequest, PreviewRequest, SegmentsRequest
from serving.api.decoding import decode_body, decode_query
from serving.api.demand_schemas import AlertsRequest, DemandRequest
from serving.api.endpoints import AUDIENCE, CUSTOMER, EXPORT, RELEASE, RULES, STOCK
from serving.api.errors import RequestError
from serving.api.item_schemas import ItemSearch, ItemsRequest
from serving.api.merchandising_schemas import StockRequest
from serving.api.release_schemas import ReleaseRequest
from serving.api.rights_schemas import ConsentRequest, ExportRequest
from serving.api.schemas import CustomersRequest, EventsAnswer, EventsRequest, RecommendRequest, ReleasesAnswer
from serving.engine import Answered, Engine
from serving.engines import Engines, Routed, add_events_routed, kind_of, recommend_routed
from serving.http.at_work import OneThread, beside, in_thread
from serving.http.awaited import Awaited
from serving.http.batching import MicroBatcher
from serving.http.protocol import GuardedProtocol
from serving.http.release_calls import change_release, served_release
from serving.http.reply import Reply, to_json
from serving.http.routes import Handler
from serving.http.tracked import ROWS_A_REQUEST, tracked
from serving.http.visit import Visit
from serving.process.metrics import ServiceMetrics
from serving.process.settings import ServeSettings

T = TypeVar("T")
Batcher = MicroBatcher[Routed, Answered | RequestError]
_MOST_KEPT_TOGETHER: Final = 32  # requests of events in one commit


class Handlers:
    """Answers the documented calls from engines that are attached once a worker has loaded the release.

    Args:
        settings: limits.
    """

    def __init__(self, settings: ServeSettings) -> None:
        self._settings = settings
        self.engines: Engines | None = None
        self.metrics: ServiceMetrics | None = None
        self._awaited = Awaited()
        self._batcher: Batcher | None = None
        self._keeper: MicroBatcher[tuple[Engine, EventsRequest], EventsAnswer | RequestError] | None = None
        # One thread computes: FAISS and ONNX Runtime hold one thread each, and batches gather meanwhile.
        self._compute, self._storage = OneThread("compute"), OneThread("storage")
        # What may take seconds has a thread of its own, which what a page waits for does not stand behind.
        self._lookup, self._bulk = OneThread("lookup"), OneThread("bulk")
        # Who measures must not stand behind what is measured.
        self._exposing = OneThread("metrics")

    def attach(self, engines: Engines, metrics: ServiceMetrics) -> None:
        """Answer from these engines from now on."""
        self.engines, self.metrics = engines, metrics
        self._batcher = MicroBatcher(
            recommend_routed,
            max_batch=self._settings.limits.max_batch,
            executor=self._compute,
            kind=partial(kind_of, is_remote=bool(self._settings.live.url)),
            newcomers=lambda: GuardedProtocol.let_in,
            observe=metrics.observe_batch,
        )
        timings.tell(metrics.observe_timing)
        # Requests that arrive while the disk is waited for share the next wait.
        self._keeper = MicroBatcher(
            add_events_routed, max_batch=_MOST_KEPT_TOGETHER, executor=self._storage, loop_seconds=0
        )

    @property
    def by_call(self) -> Mapping[tuple[str, str], Handler]:
        """Handlers by method and path, one a documented call."""
        return {
            ("POST", "/v1/recommend"): self._recommend,
            ("POST", "/v1/events"): self._events,
            ("GET", "/v1/customers"): self._customers,
            ("GET", "/v1/items"): self._search_items,
            ("POST", "/v1/items"): self._items,
            ("POST", "/v1/consents"): self._consent,
            ("GET", EXPORT): self._export,
            ("GET", CUSTOMER): self._customer,
            ("DELETE", CUSTOMER): self._erase,
            ("POST", "/v1/segments"): self._segments,
            ("GET", "/v1/audiences"): self._audiences,
            ("POST", "/v1/audiences/preview"): self._preview,
            ("GET", AUDIENCE): self._audience,
            ("POST", "/v1/demand"): self._demand,
            ("GET", "/v1/demand/alerts"): self._alerts,
            ("GET", "/v1/releases"): self._releases,
            ("GET", RELEASE): self._release,
            ("POST", RELEASE): self._change_release,
            ("GET", RULES): self._rules,
            ("POST", STOCK): self._stock,
        }

    async def exposition(self, _: Visit) -> Reply:
        """Answer what Prometheus scrapes."""
        if self.metrics is None:
            raise _still_starting()
        await self.metrics.settled()
        content = await in_thread(self._exposing, self.metrics.exposition)
        return Reply(content, media_type=self.metrics.content_type.encode())

    @property
    def _ready_engines(self) -> Engines:
        if self.engines is None:
            raise _still_starting()
        return self.engines

    @property
    def _ready_engine(self) -> Engine:
        return self._ready_engines.current

    async def _recommend(self, visit: Visit) -> Reply:
        started = time.perf_counter()
        request = decode_body(visit.body, RecommendRequest)
        if self.engines is None or self._batcher is None:
            raise _still_starting()
        if request.release_id is not None:
            _check_looks(visit)
        visit.instead = partial(_favourites, self.engines.current, request)
        looks = "app" not in visit.roles
        answered = await beside(
            self._compute, self._batcher.ask(self.engines.route(request, body=visit.body, looks=looks))
        )
        if isinstance(answered, RequestError):
            raise answered
        answer = answered.answer
        if answered.keep is not None:  # here alone is it known that no favourites stand in for it
            answered.keep()
        self._awaited.answered(request.user_id)
        if self.metrics is not None:
            self.metrics.observe_recommendation(request.surface, answer.strategy, time.perf_counter() - started)
        return to_json(answer)

    async def _releases(self, _: Visit) -> Reply:
        engines = self._ready_engines
        return to_json(ReleasesAnswer(release_id=engines.current.release_id, held=engines.ids()))

    async def _events(self, visit: Visit) -> Reply:
        engine, request = self._ready_engine, decode_body(visit.body, EventsRequest)
        charge, sent = visit.charge, None
        if charge is not None:
            charge((len(request.events) - 1) // ROWS_A_REQUEST)
            sent = tracked(request, self._settings.access.tracker)
            request = sent.request
        try:
            answer = await self._keep(engine, request)
        except RequestError as error:
            if sent is None or error.code != "no_event_accepted":
                raise
            return to_json(sent.answer)  # that these customers were erased is not told
        self._awaited.acknowledged(request.events)
        if self.metrics is not None:
            self.metrics.count_events(
                accepted=answer.accepted, duplicates=answer.duplicates, rejected=len(answer.rejected)
            )
        return to_json(answer if sent is None else sent.answer)

    async def _keep(self, engine: Engine, request: EventsRequest) -> EventsAnswer:
        if self._keeper is None:
            raise _still_starting()
        answer = await beside(self._storage, self._keeper.ask((engine, request)))
        if isinstance(answer, RequestError):
            raise answer
        return answer

    async def _customers(self, visit: Visit) -> Reply:
        engine, request = self._ready_engine, decode_query(visit.query_params, CustomersRequest)
        return to_json(await in_thread(self._lookup, partial(engine.customers, request)))

    async def _items(self, visit: Visit) -> Reply:
        engine, request = self._ready_engine, decode_body(visit.body, ItemsRequest)
        return to_json(await in_thread(self._lookup, partial(engine.items, request)))

    async def _search_items(self, visit: Visit) -> Reply:
        engine, request = self._ready_engine, decode_query(visit.query_params, ItemSearch)
        return to_json(await in_thread(self._lookup, partial(engine.search_items, request)))

    async def _customer(self, visit: Visit) -> Reply:
        engine = self._ready_engine
        return to_json(await in_thread(self._lookup, partial(engine.customer, visit.path_params["user_id"])))

    async def _consent(self, visit: Visit) -> Reply:
        engine, request = self._ready_engine, decode_body(visit.body, ConsentRequest)
        return to_json(await in_thread(self._storage, partial(engine.add_consent, request)))

    async def _export(self, visit: Visit) -> Reply:
        engine, request = self._ready_engine, decode_query(visit.query_params, ExportRequest)
        return to_json(await in_thread(self._bulk, partial(engine.export, visit.path_params["user_id"], request)))

    async def _erase(self, visit: Visit) -> Reply:
        engine, user_id = self._ready_engine, visit.path_params["user_id"]
        if not user_id:
            raise RequestError(422, "invalid_request", f"user_id: expected one at the end of {CUSTOMER}, found none.")
        answer = await in_thread(self._storage, partial(engine.erase, user_id))
        # Whatever reads files for long is off the thread that events wait for.
        await in_thread(self._bulk, partial(engine.erase_elsewhere, user_id))
        return to_json(answer)

    async def _segments(self, visit: Visit) -> Reply:
        engine, request = self._ready_engine, decode_body(visit.body, SegmentsRequest)
        # Elsewhere than recommendations, which ten thousand ids would hold up; written as JSON there too.
        return await in_thread(self._bulk, lambda: to_json(engine.segments(request)))

    async def _audiences(self, _: Visit) -> Reply:
        return to_json(await in_thread(self._lookup, self._ready_engine.audiences))

    async def _audience(self, visit: Visit) -> Reply:
        engine, request = self._ready_engine, decode_query(visit.query_params, MembersRequest)
        return to_json(await in_thread(self._bulk, partial(engine.audience, visit.path_params["name"], request)))

    async def _preview(self, visit: Visit) -> Reply:
        engine, request = self._ready_engine, decode_body(visit.body, PreviewRequest)
        return to_json(await in_thread(self._bulk, partial(engine.preview, request)))

    async def _demand(self, visit: Visit) -> Reply:
        engine, request = self._ready_engine, decode_body(visit.body, DemandRequest)
        # Elsewhere than recommendations, which a thousand items would hold up; written as JSON there too.
        return await in_thread(self._bulk, lambda: to_json(engine.demand(request)))

    async def _alerts(self, visit: Visit) -> Reply:
        engine, request = self._ready_engine, decode_query(visit.query_params, AlertsRequest)
        return to_json(await in_thread(self._lookup, partial(engine.alerts, request)))

    async def _release(self, _: Visit) -> Reply:
        return to_json(await served_release(self._ready_engines, self._lookup))

    async def _change_release(self, visit: Visit) -> Reply:
        engines, request = self._ready_engines, decode_body(visit.body, ReleaseRequest)
        most_seconds = max(0.0, self._settings.limits.deadline_seconds - 1)  # so that it is we who answer
        return to_json(await change_release(engines, request, self._bulk, most_seconds=most_seconds))

    async def _rules(self, _: Visit) -> Reply:
        return to_json(await in_thread(self._lookup, self._ready_engines.rules))

    async def _stock(self, visit: Visit) -> Reply:
        engine, request = self._ready_engine, decode_body(visit.body, StockRequest)
        return to_json(await in_thread(self._storage, partial(engine.tell_stock, request)))


def _favourites(engine: Engine, request: RecommendRequest) -> Reply:
    return to_json(engine.favourites(request))


def _check_looks(visit: Visit) -> None:
    if visit.roles.isdisjoint(("analyst", "admin")):
        message = "release_id: expected a key of role analyst or admin with it; the app gets what its release answers."
        raise RequestError(403, "forbidden", message)


def _still_starting() -> RequestError:
    return RequestError(503, "starting", "The release is still being loaded; try again in a moment.", retry_after=1)
