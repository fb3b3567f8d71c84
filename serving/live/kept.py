"""All that is kept of a customer's events, wherever it is: for their right of access."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from features import columns as c
from features.live_log.archive import LiveLog
from serving.live.store import MORE_COLUMNS, LiveEvent, LiveStore


def kept_events(live: LiveStore, log: LiveLog, ids: Sequence[str]) -> list[LiveEvent]:
    """Return what some ids sent, by time, each event once: live, waiting in the log, and in the archive.

    Raises:
        LiveStateError: the store cannot be read.
    """
    found: dict[tuple[object, ...], LiveEvent] = {}
    for event in (*_archived(log, ids), *live.kept_of(ids)):
        found.setdefault((event.user_id, event.ts_us, event.event_type, event.item_id), event)
    return sorted(found.values(), key=lambda event: event.ts_us)


def _archived(log: LiveLog, ids: Sequence[str]) -> list[LiveEvent]:
    return [
        LiveEvent(
            event_id=row[c.EVENT_ID],
            user_id=row[c.USER_ID],
            ts_us=row[c.TS],
            event_type=row[c.EVENT_TYPE],
            item_id=row[c.ITEM_ID],
            more=_more({name: row[name] for name in MORE_COLUMNS if row[name] is not None}),
        )
        for row in log.rows_of(ids)
    ]


def _more(fields: dict[str, object]) -> str | None:
    return msgspec.json.encode(fields).decode() if fields else None
