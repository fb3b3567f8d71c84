"""What the serving benchmark asks for: sessions of 50 events, and customers by their id."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from features.columns import EVENT_TYPE_CODES
from features.release import ReleaseStore
from features.release.layout import HISTORIES, HISTORY_VOCABULARY, USERS
from features.sequences import Sequences
from features.vocabulary import FIRST, Vocabulary
from serving.history.stored import to_instant

NUM_CUSTOMERS: Final = 20_000  # that the release knows
LIVE_EVENTS: Final = 5
_NUM_SESSIONS: Final = 200
_MOST_AT_ONCE: Final = 200  # customers whose live events are sent together
_EVENTS: Final = 50
_NAMES: Final = {code: name for name, code in EVENT_TYPE_CODES.items()}


class Bodies:
    """Request bodies about the customers with a long history.

    Args:
        store: the release.
    """

    def __init__(self, store: Path) -> None:
        part = ReleaseStore(root=store).open(ReleaseStore(root=store).current_id or "").part("customers")
        assert part is not None
        self._sequences = Sequences.load(part.path(f"{HISTORIES}/offsets.npy").parent)
        self._items = Vocabulary.load(part.path(HISTORY_VOCABULARY))
        long = np.random.default_rng(0).permutation(np.flatnonzero(self._sequences.lengths >= _EVENTS))
        self._rows = long[:_NUM_SESSIONS]
        ids = [str(id_) for id_ in Vocabulary.load(part.path(USERS)).ids[long]]
        #: Customers who did something since the release was made, and as many who did not.
        self.active, self.quiet = ids[::2], ids[1::2]

    @property
    def sizes(self) -> str:
        """Bytes of the bodies with events."""
        lengths = [len(body) for body in self.with_events(k=100)]
        return f"{min(lengths)} to {max(lengths)} bytes"

    def with_events(self, *, k: int) -> list[bytes]:
        """Return requests that carry a session's last 50 events."""
        return [msgspec.json.encode({"events": self._last_events(row), "k": k}) for row in self._rows]

    def by_id(self, *, k: int, is_live: bool) -> list[bytes]:
        """Return requests that name a customer alone.

        Args:
            k: how many items.
            is_live: of customers with live events, whose seen items are left out; else of customers without, who see all.
        """
        ids = self.active if is_live else self.quiet
        return [msgspec.json.encode({"user_id": id_, "k": k, "exclude_seen": is_live}) for id_ in ids]

    def live_events(self) -> Iterator[tuple[int, bytes]]:
        """Yield a few events of each active customer, as they are sent to the service, and how many they are."""
        picked = np.random.default_rng(1).integers(0, len(self._items.ids), (len(self.active), LIVE_EVENTS))
        for at in range(0, len(self.active), _MOST_AT_ONCE):
            some = slice(at, at + _MOST_AT_ONCE)
            events = [
                {"user_id": user_id, "event_type": "view", "item_id": str(self._items.ids[item])}
                for user_id, items in zip(self.active[some], picked[some], strict=True)
                for item in items
            ]
            yield len(events), msgspec.json.encode({"events": events})

    def _last_events(self, row: int) -> list[dict[str, Any]]:
        stop = self._sequences.offsets[row + 1]
        held = self._sequences
        return [
            {
                "event_type": _NAMES[int(held.event_type[at])],
                "item_id": str(self._items.ids[held.item[at] - FIRST]),
                "ts": to_instant(held.ts[at]),
            }
            for at in range(stop - _EVENTS, stop)
        ]
