"""New events on their way into the store: each row is judged by itself, and kept or refused with its reason."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any, Final

import msgspec

from features import columns as c
from serving.api.decoding import explain
from serving.api.errors import RequestError
from serving.api.schemas import EventsAnswer, EventsRequest, NewEvent, RejectedEvent
from serving.history.stored import to_microseconds
from serving.live.events import LiveEvent, LiveEvents, content_id
from serving.privacy.consents import ConsentWatch
from serving.privacy.erasures import ErasureWatch

# A clock may be off or in another zone; an instant further ahead than this is a wrong unit or a wrong year.
_FUTURE: Final = dt.timedelta(days=1)


class Refused(ValueError):
    """A row that breaks the contract; the message is its reason."""


def ingest(
    request: EventsRequest,
    *,
    live: LiveEvents,
    erased: ErasureWatch,
    consents: ConsentWatch,
    knows_item: Callable[[str], bool],
    reads: Callable[[str], bool],
) -> EventsAnswer:
    """Keep a batch of events; accepted rows are on disk when this returns.

    Args:
        request: rows as they came.
        live: where events are kept.
        erased: customers whose events are refused.
        consents: an event that no purpose may use is not kept.
        knows_item: whether the release holds an item.
        reads: whether the release's model was trained on an event type.

    Raises:
        RequestError: not one row could be kept.
    """
    now = dt.datetime.now(dt.UTC)
    good: list[tuple[int, LiveEvent]] = []
    rejected: list[RejectedEvent] = []
    for row, content in enumerate(request.events):
        try:
            good.append((row, _checked(content, now=now, knows_item=knows_item)))
        except Refused as error:
            rejected.append(RejectedEvent(row=row, reason=str(error)))
    added = live.add(
        [event for _, event in good],
        refuses=erased.__contains__,
        withholds=lambda event: not consents.of(event.user_id).may_serve(event.ts_us),
    )
    reason = "user_id: this customer was erased; events are no longer kept under this id"
    rejected += [RejectedEvent(row=good[position][0], reason=reason) for position in added.refused_rows]
    if len(rejected) == len(request.events):
        raise RequestError(422, "no_event_accepted", f"No row could be kept; {_examples(rejected)}")
    return EventsAnswer(
        accepted=added.num_accepted,
        duplicates=added.num_duplicates,
        rejected=sorted(rejected, key=lambda refusal: refusal.row),
        without_consent=added.num_withheld,
        unread_event_types=sorted({event.event_type for _, event in good if not reads(event.event_type)}),
    )


def _checked(content: Any, *, now: dt.datetime, knows_item: Callable[[str], bool]) -> LiveEvent:
    try:
        event = msgspec.convert(content, NewEvent)
    except msgspec.ValidationError as error:
        raise Refused(explain(str(error), content, NewEvent)) from None
    if event.item_id is None and event.event_type in c.ITEM_EVENT_TYPES:
        raise Refused(f"item_id: expected one with event_type {event.event_type!r}, found none")
    if event.item_id is not None and not knows_item(event.item_id):
        raise Refused(f"item_id: the release knows no item {event.item_id!r}")
    if event.ts is not None and event.ts - now > _FUTURE:
        raise Refused(f"ts: expected an instant that has passed, found {event.ts.isoformat()}")
    ts_us = to_microseconds(event.ts or now)
    if ts_us <= 0:  # 0 stands for an instant that is not known
        raise Refused(f"ts: expected an instant after 1970, found {event.ts and event.ts.isoformat()}")
    own_id = event.event_id or content_id(event.user_id, event.event_type, event.item_id, ts_us)
    return LiveEvent(own_id, event.user_id, ts_us, event.event_type, event.item_id)


def _examples(rejected: list[RejectedEvent]) -> str:
    return "; ".join(f"row {refusal.row}: {refusal.reason}" for refusal in rejected[:3])
