"""The event log while it is written: whole blocks of events as columns of whole numbers."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from features.columns import EVENT_TYPE_CODES
from features.sources.synthetic.settings import Ints

NONE: Final = -1  # no value here
# user: row of the customer, or num_users + device for a session without login
# touch: row of CHANNELS, or 5 + row of the campaign whose message was clicked
COLUMNS: Final[dict[str, type[np.signedinteger]]] = {
    "user": np.int32,
    "event_type": np.int8,
    "ts": np.int64,
    "item": np.int32,
    "session": np.int32,
    "quantity": np.int16,
    "price": np.int32,
    "order": np.int32,
    "device": np.int32,
    "dwell_ms": np.int32,
    "section": np.int16,
    "query": np.int16,
    "slot": np.int8,
    "touch": np.int16,
    "term": np.int16,
    "campaign": np.int16,
    "coupon": np.int16,
}


class EventBook:
    """Blocks of events, joined and sorted at the end."""

    def __init__(self) -> None:
        self._blocks: list[dict[str, Ints]] = []

    def add(self, event_type: str, *, user: Ints, ts: Ints, **columns: npt.ArrayLike) -> None:
        """Add ``len(user)`` events; columns left out are ``NONE``."""
        given = {"user": user, "ts": ts, "event_type": EVENT_TYPE_CODES[event_type], **columns}
        block = {
            name: np.broadcast_to(np.asarray(given.get(name, NONE), dtype), len(user))
            for name, dtype in COLUMNS.items()
        }
        if len(user):
            self._blocks.append(block)

    def sorted(self) -> dict[str, Ints]:
        """Return all events as columns ``[N]``, oldest first; equal instants keep the order in which they were added."""
        order = np.argsort(self._column("ts"), kind="stable")
        return {name: self._column(name)[order] for name in COLUMNS}

    def _column(self, name: str) -> Ints:
        return np.concatenate([block[name] for block in self._blocks])
