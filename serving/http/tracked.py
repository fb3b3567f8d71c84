"""Events from a browser: whoever reads the page has the key, so they are believed little and told less."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

from features import columns as c
from serving.access.settings import TrackerSettings
from serving.api.errors import RequestError
from serving.api.schemas import EventsAnswer, EventsRequest, RejectedEvent
from serving.live.ingest import checked_rows

# So many rows cost as much of a rate as a request.
ROWS_A_REQUEST: Final = 10
_PREFIX: Final = "tracker:"
_LONGEST: Final = 256


class Tracked(NamedTuple):
    """What is kept of a tracker's request, and its answer: it follows from the rows alone, and tells of nobody."""

    request: EventsRequest
    answer: EventsAnswer


def tracked(request: EventsRequest, settings: TrackerSettings) -> Tracked:
    """Return the rows that a tracker may send, under ids that are no shop's own.

    Raises:
        RequestError: there are too many rows, or not one may be sent.
    """
    rows = request.events
    if len(rows) > settings.max_rows:
        message = (
            f"events: expected at most {settings.max_rows} rows from a tracker, found {len(rows)}; send fewer at once."
        )
        raise RequestError(422, "invalid_request", message)
    kept, rejected = _kept(rows, settings)
    if not kept:
        reasons = "; ".join(f"row {one.row}: {one.reason}" for one in rejected[:3])
        raise RequestError(422, "no_event_accepted", f"No row could be kept; {reasons}")
    answer = EventsAnswer(accepted=len(kept), duplicates=0, rejected=rejected)
    return Tracked(EventsRequest(events=tuple(kept)), answer)


def _kept(rows: Sequence[Any], settings: TrackerSettings) -> tuple[list[dict[str, Any]], list[RejectedEvent]]:
    good, rejected = checked_rows(rows)
    kept = []
    for number, event in good:
        if event.event_type in settings.event_types:
            kept.append(_named_apart(rows[number]))
        else:
            expected = ", ".join(settings.event_types)
            reason = f"event_type: expected one that trackers may send ({expected}), found {event.event_type!r}"
            rejected.append(RejectedEvent(row=number, reason=reason))
    return kept, sorted(rejected, key=lambda one: one.row)


def _named_apart(row: dict[str, Any]) -> dict[str, Any]:
    """Give a row an id of a tracker's: under a shop's own, such as an order's, its event would pass for sent already."""
    given = row.get(c.EVENT_ID)
    if given is None and row.get(c.TS) is None:
        return row  # gets one at random, as each sending counts
    own = _digest(row) if given is None else given
    return row | {c.EVENT_ID: _PREFIX + (own if len(own) <= _LONGEST - len(_PREFIX) else _digest(own))}


def _digest(value: object) -> str:
    return hashlib.blake2b(msgspec.json.encode(value), digest_size=16).hexdigest()
