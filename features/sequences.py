"""Behaviour sequences of all users as jagged arrays, memory-mapped from disk.

User ``u``'s events stand at ``offsets[u]:offsets[u + 1]`` of every event array, oldest first::

    offsets     [0,       3,    5]          two users
    item        [7, 2, 7, 4, 9]             the first has 3 events, the second 2
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from features.errors import ConfigError, DataError
from features.vocabulary import PAD

EVENT_ARRAYS: Final = {"item": np.int32, "event_type": np.int8, "ts": np.int64, "price_band": np.int8}

Ints = npt.NDArray[np.integer]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class Sequences:
    """Events of ``U`` users, ``N`` in all.

    Args:
        offsets: int64 ``[U + 1]``, non-decreasing, from 0 to N.
        item: int32 ``[N]``, item codes.
        event_type: int8 ``[N]``, codes of ``columns.EVENT_TYPE_CODES``.
        ts: int64 ``[N]``, UTC microseconds, non-decreasing within a user; all 0 where unknown.
        price_band: int8 ``[N]``, 1 (cheapest) upwards within the category; 0 where unknown.
    """

    offsets: Ints
    item: Ints
    event_type: Ints
    ts: Ints
    price_band: Ints

    @classmethod
    def from_arrays(
        cls,
        *,
        offsets: npt.ArrayLike,
        item: npt.ArrayLike,
        event_type: npt.ArrayLike | None = None,
        ts: npt.ArrayLike | None = None,
        price_band: npt.ArrayLike | None = None,
    ) -> Sequences:
        """Validate once and freeze; arrays left out are zeros (unknown).

        Raises:
            DataError: lengths disagree, offsets fall, or a user's instants fall.
        """
        starts = np.asarray(offsets, dtype=np.int64)
        given = {"item": item, "event_type": event_type, "ts": ts, "price_band": price_band}
        num_events = len(np.asarray(item))
        arrays = {
            name: np.zeros(num_events, dtype) if given[name] is None else np.asarray(given[name], dtype=dtype)
            for name, dtype in EVENT_ARRAYS.items()
        }
        if len(starts) == 0 or starts[0] != 0 or starts[-1] != num_events or (np.diff(starts) < 0).any():
            raise DataError(
                f"Sequences: expected offsets that rise from 0 to {num_events}, found {starts[:3]} ... {starts[-1:]}."
            )
        for name, array in arrays.items():
            if array.shape != (num_events,):
                raise DataError(f"Sequences: expected {name} of shape ({num_events},), found {array.shape}.")
        sequences = cls(offsets=starts, **arrays)
        falls = np.flatnonzero(np.diff(sequences.ts) < 0) + 1
        if not np.isin(falls, starts).all():
            raise DataError(
                "Sequences: expected instants that do not fall within a user; sort by (user, ts, event_id) first."
            )
        return sequences

    @property
    def num_users(self) -> int:
        """U."""
        return len(self.offsets) - 1

    @property
    def num_events(self) -> int:
        """N."""
        return int(self.offsets[-1])

    @property
    def lengths(self) -> Ints:
        """Events of each user, int64 ``[U]``."""
        return np.diff(self.offsets)

    @property
    def user_of_event(self) -> Ints:
        """The user of each event, int64 ``[N]``."""
        return np.repeat(np.arange(self.num_users), self.lengths)

    def items_of(self, user: int) -> Ints:
        """Item codes of one user, oldest first, int32 ``[n]``."""
        return self.item[self.offsets[user] : self.offsets[user + 1]]

    def take(self, users: npt.ArrayLike) -> Sequences:
        """Return the given users, in the given order."""
        chosen = np.asarray(users, dtype=np.int64)
        return self._window(self.offsets[chosen], self.offsets[chosen + 1])

    def part(self, rank: int, of: int) -> Sequences:
        """Return the users of one of ``of`` processes: neighbours, about as many events as any other's, views of the arrays.

        A user is nobody's twice; one with more events than a part holds leaves the next ones empty.

        Args:
            rank: which, from 0.
            of: how many parts.

        Raises:
            ConfigError: there is no such part.
        """
        if not 0 <= rank < of:
            raise ConfigError(f"Sequences.part: expected a rank from 0 to {of - 1}, found {rank}.")
        first, stop = self._boundary(rank, of), self._boundary(rank + 1, of)
        bounds = self.offsets[first : stop + 1]
        events = slice(int(bounds[0]), int(bounds[-1]))
        return Sequences(offsets=bounds - bounds[0], **{name: getattr(self, name)[events] for name in EVENT_ARRAYS})

    def last(self, num_events: int) -> Sequences:
        """Keep each user's last ``num_events`` events."""
        stops = self.offsets[1:]
        return self._window(np.maximum(self.offsets[:-1], stops - num_events), stops)

    def without_last(self, num_events: int) -> Sequences:
        """Drop each user's last ``num_events`` events."""
        starts = self.offsets[:-1]
        return self._window(starts, np.maximum(starts, self.offsets[1:] - num_events))

    def between(self, start_us: int | None, stop_us: int | None) -> Sequences:
        """Keep events with ``start_us <= ts < stop_us``; every user stays, perhaps empty."""
        keep = np.ones(self.num_events, dtype=bool)
        if start_us is not None:
            keep &= self.ts >= start_us
        if stop_us is not None:
            keep &= self.ts < stop_us
        return self.where(keep)

    def where(self, keep: Bools) -> Sequences:
        """Keep the events marked in ``keep`` ``[N]``; every user stays, perhaps empty."""
        kept_before = np.concatenate([[0], np.cumsum(keep)])
        return Sequences(
            offsets=kept_before[self.offsets],
            **{name: getattr(self, name)[keep] for name in EVENT_ARRAYS},
        )

    def padded(self, length: int) -> tuple[Ints, Bools]:
        """Return each user's last ``length`` items, right-aligned: codes and mask, both ``[U, length]``.

        >>> Sequences.from_arrays(offsets=[0, 3, 5], item=[7, 2, 7, 4, 9]).padded(3)[0].tolist()
        [[7, 2, 7], [0, 4, 9]]
        """
        position, mask = right_aligned(self.offsets, length)
        return np.where(mask, self.item[position] if self.num_events else PAD, PAD), mask

    def save(self, directory: Path) -> None:
        """Write one ``.npy`` file an array."""
        directory.mkdir(parents=True, exist_ok=True)
        for name in ("offsets", *EVENT_ARRAYS):
            np.save(directory / f"{name}.npy", getattr(self, name))

    @classmethod
    def load(cls, directory: Path) -> Sequences:
        """Map what ``save`` wrote; nothing is read until it is used."""
        arrays = {name: np.load(directory / f"{name}.npy", mmap_mode="r") for name in ("offsets", *EVENT_ARRAYS)}
        return cls(**arrays)

    def _boundary(self, rank: int, of: int) -> int:
        """The first user of a part: the one whose events begin nearest to its share of all, users without any by number."""
        if rank in (0, of):
            return 0 if rank == 0 else self.num_users
        if self.num_events == 0:
            return self.num_users * rank // of
        share = self.num_events * rank / of
        after = int(np.searchsorted(self.offsets, share))
        nearer_before = after > 0 and share - self.offsets[after - 1] < self.offsets[after] - share
        return after - int(nearer_before)

    def _window(self, starts: Ints, stops: Ints) -> Sequences:
        lengths = stops - starts
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        source = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
        return Sequences(offsets=offsets, **{name: getattr(self, name)[source] for name in EVENT_ARRAYS})


def event_arrays(directory: Path, num_events: int) -> dict[str, npt.NDArray[Any]]:
    """Return the event arrays of so many events as files to write into, as ``Sequences.load`` reads them.

    Args:
        directory: made where missing.
        num_events: N.

    Returns:
        An array of ``[N]`` for each name of ``EVENT_ARRAYS``, mapped to its file.
    """
    directory.mkdir(parents=True, exist_ok=True)
    return {name: _array(directory / f"{name}.npy", dtype, num_events) for name, dtype in EVENT_ARRAYS.items()}


def _array(path: Path, dtype: type, length: int) -> npt.NDArray[Any]:
    if length:
        return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=(length,))
    np.save(path, np.zeros(0, dtype))  # nothing cannot be mapped
    return np.zeros(0, dtype)


def right_aligned(offsets: Ints, length: int) -> tuple[Ints, Bools]:
    """Return where each user's last ``length`` events stand, and which cells hold one.

    Args:
        offsets: int64 ``[U + 1]``.
        length: number of columns.

    Returns:
        positions int64 ``[U, length]`` into the event arrays (0 where masked), and the mask.
    """
    back = np.arange(length, 0, -1)  # L, L-1, .. 1 events before the end
    position = offsets[1:, None] - back
    mask = position >= offsets[:-1, None]
    return np.where(mask, position, 0), mask
