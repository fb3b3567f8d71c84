"""From recent events to model inputs: the one function that training and serving both call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from features.sequences import Sequences

# The time since the user's event before, in powers of 4 seconds: 1 is under 4 s, 2 under 16 s, ..., 14 over 2 years.
# 0 is "no event before, or instants unknown".
NUM_GAPS: Final = 16
_GAP_EDGES_US: Final = 4 ** np.arange(1, NUM_GAPS - 1, dtype=np.int64) * 1_000_000

Ints = npt.NDArray[np.integer]


@dataclass(frozen=True, kw_only=True, eq=False)
class EncodedHistory:
    """Model inputs of ``B`` users, jagged: user ``b`` stands at ``offsets[b]:offsets[b + 1]``.

    Args:
        offsets: int64 ``[B + 1]``.
        item, event_type, gap, price_band: int32 ``[M]``, oldest first.
    """

    offsets: Ints
    item: Ints
    event_type: Ints
    gap: Ints
    price_band: Ints

    @property
    def lengths(self) -> Ints:
        """Events of each user, ``[B]``."""
        return np.diff(self.offsets)

    def part(self, start: int, stop: int) -> EncodedHistory:
        """Return users ``start`` to ``stop``, the latter excluded, as views."""
        bounds = self.offsets[start : stop + 1]
        events = slice(int(bounds[0]), int(bounds[-1]))
        return EncodedHistory(
            offsets=bounds - bounds[0],
            item=self.item[events],
            event_type=self.event_type[events],
            gap=self.gap[events],
            price_band=self.price_band[events],
        )

    def padded(self, length: int | None = None) -> dict[str, npt.NDArray[np.int64]]:
        """Return each input as int64 ``[B, L]``, right-aligned, 0 where there is no event.

        Args:
            length: L; the longest history where left out (at least 1).
        """
        width = max(1, int(self.lengths.max(initial=0))) if length is None else length
        held = np.arange(width) >= width - self.lengths[:, None]  # [B, L]
        kept = _last_of_each(self.offsets, width)
        return {name: self._cells(name, held, kept) for name in ("item", "event_type", "gap", "price_band")}

    def _cells(
        self, name: str, held: npt.NDArray[np.bool_], kept: npt.NDArray[np.bool_] | None
    ) -> npt.NDArray[np.int64]:
        values = getattr(self, name)
        cells = np.zeros(held.shape, np.int64)
        # Cells and events are both in order of users and then of time.
        cells[held] = values if kept is None else values[kept]
        return cells


def _last_of_each(offsets: Ints, num_events: int) -> npt.NDArray[np.bool_] | None:
    """Return which events are among the last so many of their user, ``None`` where all are."""
    lengths = np.diff(offsets)
    if lengths.max(initial=0) <= num_events:
        return None
    position = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
    return np.asarray(position >= np.repeat(lengths - num_events, lengths))


def encode_history(sequences: Sequences, *, max_length: int) -> EncodedHistory:
    """Return the model inputs of each user's last ``max_length`` events.

    The gap of an event is measured to the event before it, also where that one is cut off, so that
    an event is encoded alike however long the history that is kept.

    Args:
        sequences: users ``[B]``, events oldest first.
        max_length: the most events kept a user.
    """
    gaps = time_gaps(sequences)
    starts = np.maximum(sequences.offsets[:-1], sequences.offsets[1:] - max_length)
    lengths = sequences.offsets[1:] - starts
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    source = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
    return EncodedHistory(
        offsets=offsets,
        item=sequences.item[source].astype(np.int32),
        event_type=sequences.event_type[source].astype(np.int32),
        gap=gaps[source],
        price_band=sequences.price_band[source].astype(np.int32),
    )


def time_gaps(sequences: Sequences) -> npt.NDArray[np.int32]:
    """Return the gap bucket of each event, int32 ``[N]`` in ``0 .. NUM_GAPS - 1``.

    >>> s = Sequences.from_arrays(offsets=[0, 3], item=[5, 6, 7], ts=[1, 2_000_001, 3_600_000_001])
    >>> time_gaps(s).tolist()
    [0, 1, 6]
    """
    gaps = np.zeros(sequences.num_events, np.int32)
    if sequences.num_events == 0:
        return gaps
    buckets = 1 + np.searchsorted(_GAP_EDGES_US, np.diff(sequences.ts), side="right")
    gaps[1:] = np.where(sequences.ts[1:] != 0, buckets, 0)
    gaps[sequences.offsets[:-1][sequences.lengths > 0]] = 0
    return gaps
