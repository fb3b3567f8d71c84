"""Recommendations, profiles and events over a loaded release: plain calls that know nothing of HTTP."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from features.columns import PERSONALISATION
from features.triggers.trigger import Trigger
from serving.api.customer_schemas import (
    AudiencesAnswer,
    CustomerAnswer,
    MembersAnswer,
    MembersRequest,
    PreviewAnswer,
    PreviewRequest,
    SegmentsAnswer,
    SegmentsRequest,
)
from serving.api.demand_schemas import AlertsAnswer, AlertsRequest, DemandAnswer, DemandRequest
from serving.api.errors import RequestError, missing_part
from serving.api.item_schemas import ItemsAnswer, ItemSearch, ItemsRequest
from serving.api.merchandising_schemas import StockAnswer, StockRequest
from serving.api.rights_schemas import ConsentAnswer, ConsentRequest, ErasureAnswer, ExportAnswer, ExportRequest
from serving.api.schemas import (
    CustomersAnswer,
    CustomersRequest,
    EventsAnswer,
    EventsRequest,
    RecommendAnswer,
    RecommendRequest,
)
from serving.customers.answers import CustomerAnswers
from serving.customers.listing import listed
from serving.experiments.arm import Arm
from serving.experiments.exposures import ExposureWriter
from serving.history.known_events import KnownEvents
from serving.items.answers import ItemAnswers
from serving.live.ingest import ingest
from serving.live.reads import LiveReads
from serving.live.store import Arrived, LiveStore
from serving.merchandising.house import Merchandising
from serving.merchandising.merchandiser import Merchandiser
from serving.merchandising.told import keep_stock
from serving.outbox.held import HeldMessages
from serving.privacy.consents import ConsentWatch
from serving.privacy.erasures import ErasureWatch
from serving.privacy.rights import CustomerRights
from serving.release.state import ReleaseState
from serving.surfaces.clock import wall_clock_us
from serving.surfaces.preparing import Preparation
from serving.surfaces.question import Question, Ranked
from serving.surfaces.rows import items_of
from serving.surfaces.stand_in import StandIn


@dataclass(frozen=True, kw_only=True, eq=False)
class Answered:
    """An answer on its way.

    Args:
        answer: what is sent.
        keep: keeps it as shown, called where it is sent; ``None`` where nothing is to be kept.
    """

    answer: RecommendAnswer
    keep: Callable[[], None] | None = None


class Engine:
    """Answers from one release, the live events and the erasure list.

    Args:
        state: the release.
        live: where events and consents sent to this service are kept.
        erased: the erasure list.
        wall: the present, UTC microseconds.
        data: the shop's data directory, whose rows an export holds too.
        merchandising: the shop's rules, and what is told of stock.
        exposures: keeps what was shown in experiments.
        outbox: what the webhooks' file holds.
    """

    def __init__(
        self,
        state: ReleaseState,
        live: LiveStore,
        erased: ErasureWatch,
        *,
        wall: Callable[[], int] = wall_clock_us,
        data: Path | None = None,
        merchandising: Merchandising | None = None,
        exposures: ExposureWriter | None = None,
        outbox: HeldMessages | None = None,
    ) -> None:
        self._state = state
        self._merchandising = merchandising or Merchandising()
        self._merchandiser = self._merchandising.over(state, wall=wall)
        self._exposures = exposures
        self._live = live
        self._erased = erased
        self._reads = LiveReads(live)
        self._consents = ConsentWatch(state.consents, live, self._reads, links=state.links, wall=wall)
        self._known = KnownEvents(state, self._reads, erased, self._consents)
        self._preparation = Preparation(
            state, self._known, is_erased=erased.__contains__, consents=self._consents, wall=wall
        )
        self._customers = CustomerAnswers(state, self._reads, self._known, erased, self._consents, wall=wall)
        self._stand_in = StandIn(state)
        self._items = ItemAnswers(state)
        self._rights = CustomerRights(
            state, live, erased, self._consents, data=data, exposures=exposures, outbox=outbox
        )

    @property
    def state(self) -> ReleaseState:
        """The release, whose parts another one may hold too."""
        return self._state

    @property
    def release_id(self) -> str:
        """Which release answers."""
        return self._state.release_id

    def customer_of(self, user_id: str) -> str:
        """Return the customer that an id belongs to, the id itself where none is known."""
        return self._consents.customer_of(user_id)

    @property
    def merchandiser(self) -> Merchandiser:
        """The rules at work on this release."""
        return self._merchandiser

    def recommend(
        self, requests: Sequence[RecommendRequest], arms: Sequence[Arm | None] = ()
    ) -> list[RecommendAnswer | RequestError]:
        """Answer several requests at once, as shown to nobody; see ``answered``."""
        return [one.answer if isinstance(one, Answered) else one for one in self.answered(requests, arms)]

    def answered(
        self, requests: Sequence[RecommendRequest], arms: Sequence[Arm | None] = ()
    ) -> list[Answered | RequestError]:
        """Answer several requests at once; each gets its answer or its own error.

        Args:
            requests: as they came.
            arms: what the experiments want of each; nothing where left out.
        """
        asked = [request.user_id for request in requests if request.user_id is not None]
        with self._reads.together(id_ for user_id in asked for id_ in self._consents.ids_of(user_id)):
            prepared = [self._prepare(request) for request in requests]
            questions = [one for one in prepared if isinstance(one, Question)]
            of_each = list(arms) or [None] * len(requests)
            held = [arm for one, arm in zip(prepared, of_each, strict=True) if isinstance(one, Question)]
            ranked = iter(self._merchandiser.answer(questions, held))
            return [
                one if isinstance(one, RequestError) else self._answer(one, next(ranked), arm)
                for one, arm in zip(prepared, of_each, strict=True)
            ]

    def favourites(self, request: RecommendRequest) -> RecommendAnswer:
        """Return at once, and of any thread, what stands in for an answer that takes too long."""
        return self._stand_in.answer(request, self._merchandiser.shown_to_anyone(request))

    def customers(self, request: CustomersRequest) -> CustomersAnswer:
        """Return some customers with a history, or whose ids begin alike."""
        return listed(self._state, request, erased=self._erased, consents=self._consents, live=self._live.users)

    def items(self, request: ItemsRequest) -> ItemsAnswer:
        """Return what is known of several items."""
        return self._items.items(request)

    def search_items(self, request: ItemSearch) -> ItemsAnswer:
        """Return items by words of their ids and titles."""
        return self._items.search(request)

    def customer(self, user_id: str) -> CustomerAnswer:
        """Return what is known of a customer."""
        return self._customers.customer(user_id)

    def segments(self, request: SegmentsRequest) -> SegmentsAnswer:
        """Return the labels and tags of several customers."""
        return self._customers.segments(request)

    def audiences(self) -> AudiencesAnswer:
        """Return the shop's audiences."""
        return self._customers.audiences()

    def audience(self, name: str, request: MembersRequest) -> MembersAnswer:
        """Return a page of an audience."""
        return self._customers.members(name, request)

    def preview(self, request: PreviewRequest) -> PreviewAnswer:
        """Return how many customers a rule means."""
        return self._customers.preview(request)

    def demand(self, request: DemandRequest) -> DemandAnswer:
        """Return forecasts and decisions of several items."""
        if self._state.demand is None:
            raise missing_part("demand")
        return self._state.demand.answer(request)

    def alerts(self, request: AlertsRequest) -> AlertsAnswer:
        """Return what a merchandiser should look at today."""
        if self._state.demand is None:
            raise missing_part("demand")
        if self._state.demand.alerts is None:
            raise RequestError(
                503,
                "alerts_missing",
                "This demand part was made before there were alerts; train demand again and promote.",
            )
        return self._state.demand.alerts.answer(request)

    @property
    def triggers(self) -> tuple[Trigger, ...]:
        """The shop's triggers; none where the release holds no customers."""
        return () if self._state.rules is None else self._state.rules.triggers

    def arrived(self, *, after: str, limit: int) -> Arrived:
        """Return the events that live state got after a position, in order of arrival, whoever sent them."""
        return self._live.arrived(after=after, limit=limit)

    def live_users(self) -> list[str]:
        """Return everyone with events sent to this service."""
        return self._live.users()

    def is_erased(self, user_id: str) -> bool:
        """Whether a customer is to be forgotten."""
        return user_id in self._erased

    def may_write_to(self, user_id: str) -> bool:
        """Whether a customer may be written to: not erased, and consenting to personalisation now."""
        return user_id not in self._erased and self._consents.of(user_id).allows(PERSONALISATION)

    def add_events(self, request: EventsRequest) -> EventsAnswer:
        """Keep new events; they are kept when this returns, and the next answer sees them.

        Raises:
            RequestError: not one row could be kept, or live state cannot be reached.
        """
        [answer] = self.add_events_together([request])
        if isinstance(answer, RequestError):
            raise answer
        return answer

    def add_events_together(self, requests: Sequence[EventsRequest]) -> list[EventsAnswer | RequestError]:
        """Keep the events of several requests at the cost of one; each gets its answer or its own error."""
        return ingest(
            requests,
            live=self._live,
            erased=self._erased,
            consents=self._consents,
            knows_item=self._state.item_codes.__contains__,
            reads=self._known.reads,
        )

    def tell_stock(self, request: StockRequest) -> StockAnswer:
        """Keep what is in stock; it is on disk when this returns, and the next answer follows it."""
        return keep_stock(self._merchandising.stock, request, self._state, now_us=wall_clock_us())

    def add_consent(self, request: ConsentRequest) -> ConsentAnswer:
        """Keep a change of consent; it is on disk when this returns, and the next answer follows it."""
        return self._rights.consent(request)

    def export(self, user_id: str, request: ExportRequest) -> ExportAnswer:
        """Return all that is stored about a customer."""
        return self._rights.export(user_id, self._known.stored_history(user_id), request)

    def erase(self, user_id: str) -> ErasureAnswer:
        """Forget a customer, from now on and whatever release is loaded; ``erase_elsewhere`` is to follow."""
        return self._rights.erase(user_id)

    def erase_elsewhere(self, user_id: str) -> None:
        """Remove what was shown and what waits to be sent of an erased customer; this may read files for seconds."""
        self._rights.erase_elsewhere(user_id)

    def _prepare(self, request: RecommendRequest) -> Question | RequestError:
        try:
            return self._preparation.question(request)
        except RequestError as error:
            return error

    def _answer(self, question: Question, ranked: Ranked, arm: Arm | None) -> Answered:
        state, keep = self._state, None
        if arm is not None and self._exposures is not None and question.user_id is not None:
            items = state.item_ids[ranked.codes].tolist()
            keep = partial(self._exposures.keep, arm, question.request.surface, items, ranked.drawn)
        answer = RecommendAnswer(
            items=items_of(state, ranked),
            strategy=ranked.strategy,
            release_id=state.release_id,
            model_version=state.model_version,
            unknown_items=question.unknown_items,
            unread_event_types=question.unread_event_types,
            personalised=question.personalised,
            live_state=self._reads.is_readable,
            filled=ranked.filled or msgspec.UNSET,
            experiments=msgspec.UNSET if arm is None else arm.variants,
            rules_version=self._merchandiser.version(arm) if question.explain else msgspec.UNSET,
        )
        return Answered(answer=answer, keep=keep)
