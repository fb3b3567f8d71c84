"""Recommendations, profiles and events over a loaded release: plain calls that know nothing of HTTP."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from features import columns as c
from features.vocabulary import UNKNOWN
from serving.erasures import ErasureWatch
from serving.errors import RequestError, missing_part
from serving.histories import UserEvents, to_instant, to_microseconds, to_sequences
from serving.ingest import ingest
from serving.item_index import Ask
from serving.live_events import LiveEvents
from serving.release_state import ReleaseState
from serving.schemas import (
    CustomerAnswer,
    CustomersAnswer,
    DemandAnswer,
    DemandRequest,
    ErasureAnswer,
    EventsAnswer,
    EventsRequest,
    HistoryEvent,
    RecommendAnswer,
    RecommendedItem,
    RecommendRequest,
    SegmentsAnswer,
    SegmentsRequest,
    Strategy,
)

Ints = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float32]

_NONE: Final = np.zeros(0, np.int64)
_EVENT_TYPE_NAMES: Final = {code: name for name, code in c.EVENT_TYPE_CODES.items()}
_SHOWN_EVENTS: Final = 50
_SHOWN_CUSTOMERS: Final = 12


@dataclass(frozen=True, kw_only=True, eq=False)
class _Question:
    """A request with what is known of its user."""

    request: RecommendRequest
    events: UserEvents  # stored, live and inline, of the types and items that the tower knows
    has_stored: bool
    unknown_items: list[str]
    unread_event_types: list[str]
    ask: Ask


class Engine:
    """Answers from one release, the live events and the erasure list."""

    def __init__(self, state: ReleaseState, live: LiveEvents, erased: ErasureWatch) -> None:
        self._state = state
        self._live = live
        self._erased = erased

    @property
    def release_id(self) -> str:
        """Which release answers."""
        return self._state.release_id

    def recommend(self, requests: Sequence[RecommendRequest]) -> list[RecommendAnswer | RequestError]:
        """Answer several requests at once; each gets its answer or its own error."""
        prepared = [self._prepare(request) for request in requests]
        warm = [q for q in prepared if isinstance(q, _Question) and len(q.events)]
        ranked = iter(self._rank(warm))
        return [
            q if isinstance(q, RequestError) else next(ranked) if len(q.events) else self._fall_back(q)
            for q in prepared
        ]

    def customers(self) -> CustomersAnswer:
        """Return some customers with a history, spread over the table."""
        histories = self._state.histories
        if histories is None:
            raise missing_part("customers")
        rows = np.flatnonzero(histories.sequences.lengths)
        chosen = rows[np.linspace(0, len(rows) - 1, min(len(rows), _SHOWN_CUSTOMERS)).astype(int)]
        return CustomersAnswer(user_ids=[id_ for id_ in histories.users.ids[chosen] if id_ not in self._erased])

    def customer(self, user_id: str) -> CustomerAnswer:
        """Return what is known of a customer.

        Raises:
            RequestError: nothing is.
        """
        state = self._state
        if state.customers is None:
            raise missing_part("customers")
        erased = user_id in self._erased
        profile = None if erased else state.customers.profile(user_id)
        history = [] if erased else self._history(user_id)
        if profile is None and not history:
            raise RequestError(404, "unknown_user", "No customer has this id; check it, or send their events first.")
        return CustomerAnswer(
            user_id=user_id,
            profile=profile,
            history=history,
            as_of=state.customers.as_of,
            currency=state.customers.currency,
            minor_units=state.customers.minor_units,
            release_id=state.release_id,
        )

    def segments(self, request: SegmentsRequest) -> SegmentsAnswer:
        """Return the labels of several customers; those without a row are listed."""
        book = self._state.customers
        if book is None:
            raise missing_part("customers")
        found = {id_: None if id_ in self._erased else book.segments(id_) for id_ in request.user_ids}
        return SegmentsAnswer(
            segments={id_: row for id_, row in found.items() if row is not None},
            unknown=[id_ for id_, row in found.items() if row is None],
            as_of=book.as_of,
            release_id=self._state.release_id,
        )

    def demand(self, request: DemandRequest) -> DemandAnswer:
        """Return forecasts and decisions of several items."""
        if self._state.demand is None:
            raise missing_part("demand")
        return self._state.demand.answer(request)

    def add_events(self, request: EventsRequest) -> EventsAnswer:
        """Keep new events; they are on disk when this returns, and the next answer sees them."""
        return ingest(
            request,
            live=self._live,
            erased=self._erased,
            knows_item=self._state.item_codes.__contains__,
            reads=self._reads,
        )

    def erase(self, user_id: str) -> ErasureAnswer:
        """Forget a customer, from now on and whatever release is loaded."""
        self._erased.add(user_id)
        return ErasureAnswer(erased=True, live_events_deleted=self._live.delete_user(user_id))

    # From a request to a question

    def _prepare(self, request: RecommendRequest) -> _Question | RequestError:
        try:
            inline, unknown = self._inline(request)
            stored = self._stored(request.user_id)
            events = UserEvents.merged(stored, self._live_of(request.user_id), inline)
            allowed = None if request.filters is None else self._state.filters.codes(request.filters)
        except RequestError as error:
            return error
        excluded = np.unique(events.item) if request.exclude_seen else _NONE
        return _Question(
            request=request,
            events=_known_types(events, self._state.knows_event_type),
            has_stored=len(stored) > 0,
            unknown_items=unknown,
            unread_event_types=sorted({e.event_type for e in request.events if not self._reads(e.event_type)}),
            ask=Ask(k=request.k, excluded=excluded, allowed=allowed),
        )

    def _reads(self, event_type: str) -> bool:
        return bool(self._state.knows_event_type[c.EVENT_TYPE_CODES[event_type]])

    def _stored(self, user_id: str | None) -> UserEvents:
        histories = self._state.histories
        if user_id is None or histories is None or user_id in self._erased:
            return UserEvents.from_rows([])
        return histories.of_user(user_id)

    def _live_of(self, user_id: str | None) -> UserEvents:
        if user_id is None or user_id in self._erased:
            return UserEvents.from_rows([])
        rows = self._live.of_user(user_id)
        return self._encoded([(event_type, item, ts) for ts, event_type, item in rows if item is not None])

    def _inline(self, request: RecommendRequest) -> tuple[UserEvents, list[str]]:
        """Encode the session's events; those without an instant are now."""
        if not request.events:
            return UserEvents.from_rows([]), []
        now = to_microseconds(dt.datetime.now(dt.UTC))
        rows = [(e.event_type, e.item_id, now if e.ts is None else to_microseconds(e.ts)) for e in request.events]
        rows.sort(key=lambda row: row[2])
        unknown = sorted({item for _, item, _ in rows if item not in self._state.item_codes})
        encoded = self._encoded(rows)
        if not len(encoded) and request.user_id is None:
            raise RequestError(
                422,
                "unknown_item",
                f"events: expected at least one item of the release, found none, such as {unknown[0]!r}; "
                "check the ids, or leave the events out for the shop's favourites.",
            )
        return encoded, unknown

    def _encoded(self, rows: Sequence[tuple[str, str, int]]) -> UserEvents:
        """Encode ``(event_type, item_id, ts)``, oldest first; items that the release does not know are left out."""
        codes, bands = self._state.item_codes, self._state.catalog.price_band
        known = [(codes[item], c.EVENT_TYPE_CODES[kind], ts) for kind, item, ts in rows if item in codes]
        return UserEvents.from_rows([(code, kind, ts, int(bands[code])) for code, kind, ts in known])

    # From a question to an answer

    def _rank(self, questions: Sequence[_Question]) -> list[RecommendAnswer]:
        if not questions:
            return []
        user_vecs = self._state.tower.encode(to_sequences([q.events for q in questions]))  # [B, d]
        found = self._state.index.search(user_vecs, [q.ask for q in questions])
        return [self._ranked(question, *found.list_of(row)) for row, question in enumerate(questions)]

    def _ranked(self, question: _Question, codes: Ints, scores: Floats) -> RecommendAnswer:
        reasons = self._because(question.events, codes) if question.request.explain else None
        return self._answer(question, "history" if question.has_stored else "session", codes, scores, reasons)

    def _fall_back(self, question: _Question) -> RecommendAnswer:
        """Show the favourites of the customer's top-level category, then the shop's."""
        state, user_id = self._state, question.request.user_id
        known = user_id is not None and state.customers is not None and user_id not in self._erased
        category = state.customers.category(user_id) if known else None  # type: ignore[union-attr, arg-type]
        top_category = (category or "").split("/")[0]
        codes, scores, num_liked = state.favourites.top(question.ask, category=top_category)
        strategy: Strategy = "segment" if num_liked else "favourites"
        reasons = [f"A favourite in {top_category}"] * num_liked
        reasons += ["A favourite of the shop"] * (len(codes) - num_liked)
        return self._answer(question, strategy, codes, scores, reasons)

    def _because(self, events: UserEvents, codes: Ints) -> list[str]:
        """Name, for each item, the nearest item of the history."""
        seen = np.unique(events.item)
        nearness = self._state.index.vectors[codes] @ self._state.index.vectors[seen].T  # [k, S]
        nearest = seen[nearness.argmax(axis=1)]  # [k]
        return [
            "In the history" if code == near else f"Close to {self._name(near)}"
            for code, near in zip(codes, nearest, strict=True)
        ]

    def _answer(
        self, question: _Question, strategy: Strategy, codes: Ints, scores: Floats, reasons: list[str] | None
    ) -> RecommendAnswer:
        state, explain = self._state, question.request.explain
        rows = zip(codes.tolist(), scores.tolist(), strict=True)
        items = [
            RecommendedItem(
                item_id=state.item_ids[code],
                score=round(score, 6),
                title=state.catalog.title[code] or None,
                reason=reasons[row] if explain and reasons else None,
            )
            for row, (code, score) in enumerate(rows)
        ]
        return RecommendAnswer(
            items=items,
            strategy=strategy,
            release_id=state.release_id,
            model_version=state.model_version,
            unknown_items=question.unknown_items,
            unread_event_types=question.unread_event_types,
        )

    def _name(self, code: int) -> str:
        return str(self._state.catalog.title[code] or self._state.item_ids[code])

    def _history(self, user_id: str) -> list[HistoryEvent]:
        stored, live = self._stored(user_id), self._live_of(user_id)
        both = UserEvents.merged(stored, live)
        shown = np.flatnonzero(both.item > UNKNOWN)[::-1][:_SHOWN_EVENTS]
        was_live = set(zip(live.ts.tolist(), live.item.tolist(), strict=True))
        was_live -= set(zip(stored.ts.tolist(), stored.item.tolist(), strict=True))
        return [
            HistoryEvent(
                event_type=_EVENT_TYPE_NAMES.get(int(both.event_type[row]), "unknown"),
                item_id=self._state.item_ids[both.item[row]],
                ts=to_instant(both.ts[row]),
                title=self._state.catalog.title[both.item[row]] or None,
                live=(int(both.ts[row]), int(both.item[row])) in was_live,
            )
            for row in shown
        ]


def _known_types(events: UserEvents, is_known: npt.NDArray[np.bool_]) -> UserEvents:
    """Keep the events whose type the tower was trained on and whose item it knows."""
    keep = is_known[events.event_type] & (events.item > UNKNOWN)
    if keep.all():
        return events
    return UserEvents(
        item=events.item[keep],
        event_type=events.event_type[keep],
        ts=events.ts[keep],
        price_band=events.price_band[keep],
    )
