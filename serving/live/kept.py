"""All that is kept of a customer's events, wherever it is: for their right of access."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from features import columns as c
from features.live_log.archive import LiveLog
from serving.live.store import MORE_COLUMNS, LiveEvent, LiveStore


def kept_events(live: LiveStore, log: LiveLog, ids: Sequence[str]) -> list[LiveEvent]:
    """Return what some ids sent, by time, each event once: live, waiting in the log, and in the archive.

    Events are told apart by ``event_id``. A live one whose id is no longer known (Redis) counts where fewer events of its
    content are known by id.

    Raises:
        LiveStateError: the store cannot be read.
    """
    every = [*_archived(log, ids), *live.kept_of(ids)]
    found = list({event.event_id: event for event in reversed(every) if event.event_id}.values())
    told = Counter(map(_content, found))
    for event in every:
        if not event.event_id:
            told[_content(event)] -= 1
            if told[_content(event)] < 0:
                found.append(event)
    return sorted(found, key=lambda event: event.ts_us)


def _content(event: LiveEvent) -> tuple[object, ...]:
    return event.user_id, event.ts_us, event.event_type, event.item_id


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
