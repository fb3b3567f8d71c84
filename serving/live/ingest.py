"""New events on their way into the store: each row is judged by itself, and kept or refused with its reason."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from features import columns as c
from features.contract.check import UNIT_EVENT_TYPES
from serving import timings
from serving.api.decoding import explain
from serving.api.errors import RequestError
from serving.api.schemas import EventsAnswer, EventsRequest, NewEvent, RejectedEvent
from serving.history.stored import to_microseconds
from serving.live.store import MORE_COLUMNS, AddedEvents, LiveEvent, LiveStateError, LiveStore, Verdict, content_id
from serving.privacy.consents import ConsentWatch
from serving.privacy.erasures import ErasureWatch
from serving.surfaces.clock import MOST_AHEAD_US, wall_clock_us


class Refused(ValueError):
    """A row that breaks the contract; the message is its reason."""


def ingest(
    requests: Sequence[EventsRequest],
    *,
    live: LiveStore,
    erased: ErasureWatch,
    consents: ConsentWatch,
    knows_item: Callable[[str], bool],
    reads: Callable[[str], bool],
) -> list[EventsAnswer | RequestError]:
    """Keep the events of several requests together; accepted rows are kept when this returns.

    Args:
        requests: rows as they came.
        live: where events are kept.
        erased: customers whose events are refused.
        consents: an event that no purpose may use is not kept.
        knows_item: whether the release holds an item; one that it does not is new, perhaps, and kept for the log.
        reads: whether the release's model was trained on an event type.

    Returns:
        To each request its answer, or its error where not one of its rows could be kept, or the store not be reached:
        what requests of another release, kept beside these, were told stays true.
    """
    checked = [checked_rows(request.events) for request in requests]
    try:
        with timings.timed("store_write"):
            added = live.add_together(
                [[event for _, event in good] for good, _ in checked], judge=Gate(erased, consents)
            )
    except LiveStateError as error:
        return [error] * len(requests)
    _tell_lags([good for good, _ in checked])
    return [
        _answer(good, [*rejected, *_of_erased(good, one)], one, knows_item=knows_item, reads=reads)
        for (good, rejected), one in zip(checked, added, strict=True)
    ]


def _tell_lags(batches: Sequence[Sequence[tuple[int, LiveEvent]]]) -> None:
    """Tell how long ago the newest event of each request happened, now that it is kept; 0 stands for just now."""
    now_us = time.time_ns() // 1_000
    for good in batches:
        newest_us = max((event.ts_us or now_us for _, event in good), default=now_us)
        timings.measured("lag_acknowledged", (now_us - newest_us) / 1e6)


def _of_erased(good: Sequence[tuple[int, LiveEvent]], added: AddedEvents) -> list[RejectedEvent]:
    reason = "user_id: this customer was erased; events are no longer kept under this id"
    return [RejectedEvent(row=good[position][0], reason=reason) for position in added.refused_rows]


def _answer(
    good: Sequence[tuple[int, LiveEvent]],
    rejected: Sequence[RejectedEvent],
    added: AddedEvents,
    *,
    knows_item: Callable[[str], bool],
    reads: Callable[[str], bool],
) -> EventsAnswer | RequestError:
    if len(added.refused_rows) == len(good):
        return RequestError(422, "no_event_accepted", f"No row could be kept; {_examples(rejected)}")
    items = {event.item_id for _, event in good if event.item_id is not None}
    return EventsAnswer(
        accepted=added.num_accepted,
        duplicates=added.num_duplicates,
        rejected=sorted(rejected, key=lambda refusal: refusal.row),
        without_consent=added.num_withheld,
        unread_event_types=sorted({event.event_type for _, event in good if not reads(event.event_type)}),
        unknown_items=sorted(item for item in items if not knows_item(item)),
    )


class Gate:
    """Whether events may be kept, as erasures and consents stand.

    Args:
        erased: customers whose events are refused.
        consents: an event that no purpose may use is withheld.
    """

    def __init__(self, erased: ErasureWatch, consents: ConsentWatch) -> None:
        self._erased = erased
        self._consents = consents

    def __call__(self, events: Sequence[LiveEvent]) -> list[Verdict]:
        """Return the verdict on each event."""
        gone = self._erased.current()
        users = {event.user_id for event in events}
        refused = {user_id for user_id in users if user_id in gone}
        consents = self._consents.of_all(users - refused)
        return [
            "refused"
            if event.user_id in refused
            else "kept"
            if consents[event.user_id].may_serve(event.ts_us)
            else "withheld"
            for event in events
        ]


def checked_rows(rows: Sequence[Any]) -> tuple[list[tuple[int, LiveEvent]], list[RejectedEvent]]:
    """Return the rows that keep the contract, by number, and the others with their reasons."""
    latest_us = wall_clock_us() + MOST_AHEAD_US
    good: list[tuple[int, LiveEvent]] = []
    rejected: list[RejectedEvent] = []
    for row, content in enumerate(rows):
        try:
            good.append((row, _checked(content, latest_us=latest_us)))
        except Refused as error:
            rejected.append(RejectedEvent(row=row, reason=str(error)))
    return good, rejected


def _checked(content: Any, *, latest_us: int) -> LiveEvent:
    try:
        event = msgspec.convert(content, NewEvent)
    except msgspec.ValidationError as error:
        raise Refused(explain(str(error), content, NewEvent)) from None
    if event.item_id is None and event.event_type in c.ITEM_EVENT_TYPES:
        raise Refused(f"item_id: expected one with event_type {event.event_type!r}, found none")
    if event.quantity == 0 and event.event_type in UNIT_EVENT_TYPES:
        raise Refused(f"quantity: expected at least 1 with event_type {event.event_type!r}, found 0")
    ts_us = 0 if event.ts is None else to_microseconds(event.ts)
    if event.ts is not None and ts_us > latest_us:
        raise Refused(f"ts: expected an instant that has passed, found {event.ts.isoformat()}")
    if event.ts is not None and ts_us <= 0:  # 0 stands for an instant that is not known
        raise Refused(f"ts: expected an instant after 1970, found {event.ts.isoformat()}")
    return LiveEvent(_id(event, ts_us), event.user_id, ts_us, event.event_type, event.item_id, _more(event))


def _id(event: NewEvent, ts_us: int) -> str:
    if event.event_id is not None:
        return event.event_id
    if not ts_us:  # each sending counts
        return f"receipt-{uuid.uuid4().hex}"
    return content_id(event.user_id, event.event_type, event.item_id, ts_us)


def _more(event: NewEvent) -> str | None:
    given = {name: value for name in MORE_COLUMNS if (value := getattr(event, name)) is not None}
    return msgspec.json.encode(given).decode() if given else None


def _examples(rejected: Sequence[RejectedEvent]) -> str:
    return "; ".join(f"row {refusal.row}: {refusal.reason}" for refusal in rejected[:3])
