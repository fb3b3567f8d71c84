"""What users did: stored, live and inline events as arrays in the retrieval vocabulary's codes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from features.errors import ReleaseError
from features.identity.map import IdentityMap
from features.release import Part, layout
from features.sequences import EVENT_ARRAYS, Sequences
from features.vocabulary import FIRST, PAD, UNKNOWN, Vocabulary

Ints = npt.NDArray[np.integer]
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True, kw_only=True, eq=False)
class UserEvents:
    """Events of one user, oldest first; item codes are the retrieval vocabulary's.

    Args:
        item: int32 ``[N]``.
        event_type: int8 ``[N]``.
        ts: UTC microseconds, int64 ``[N]``.
        price_band: int8 ``[N]``.
    """

    item: Ints
    event_type: Ints
    ts: Ints
    price_band: Ints

    def __len__(self) -> int:
        return len(self.item)

    def where(self, keep: npt.NDArray[np.bool_]) -> UserEvents:
        """Return the events marked in ``keep`` ``[N]``."""
        if keep.all():
            return self
        return UserEvents(**{name: getattr(self, name)[keep] for name in EVENT_ARRAYS})

    @classmethod
    def from_rows(cls, rows: Sequence[tuple[int, int, int, int]]) -> UserEvents:
        """Build from rows of ``(item, event_type, ts, price_band)``, oldest first."""
        columns: Iterable[tuple[int, ...]] = zip(*rows, strict=True) if rows else ((), (), (), ())
        pairs = zip(EVENT_ARRAYS.items(), columns, strict=True)
        return cls(**{name: np.asarray(values, dtype) for (name, dtype), values in pairs})

    @classmethod
    def in_order(cls, sources: Sequence[UserEvents]) -> UserEvents:
        """Join sources in order of time; events of one instant in the order of their sources."""
        columns = {name: np.concatenate([getattr(source, name) for source in sources]) for name in EVENT_ARRAYS}
        order = np.argsort(columns["ts"], kind="stable")
        return cls(**{name: values[order] for name, values in columns.items()})

    @classmethod
    def merged(cls, *sources: UserEvents) -> UserEvents:
        """Join sources in order of time; an event that two sources hold counts once.

        An event is the same when item, type and instant are: a release made after an event was sent
        here holds that event too.
        """
        held = [source for source in sources if len(source)]
        if len(held) <= 1:
            return held[0] if held else NOTHING
        columns = {name: np.concatenate([getattr(source, name) for source in held]) for name in EVENT_ARRAYS}
        source = np.repeat(np.arange(len(held)), [len(one) for one in held])
        order = np.argsort(columns["ts"], kind="stable")
        if _share_an_instant(columns["ts"][order], source[order]):
            keys = np.stack([columns["ts"], columns["item"], columns["event_type"]], axis=1)
            order = order[(_first_source_of_each(keys, source) == source)[order]]
        return cls(**{name: values[order] for name, values in columns.items()})


NOTHING: Final = UserEvents.from_rows([])


def _share_an_instant(ts: Ints, source: Ints) -> bool:
    """Whether events of two sources happened at one instant: only such can be the same event.

    Args:
        ts: rising ``[N]``.
        source: of each; rising within one instant.
    """
    return bool(((ts[1:] == ts[:-1]) & (source[1:] != source[:-1])).any())


def _first_source_of_each(keys: npt.NDArray[np.int64], source: Ints) -> Ints:
    """Return, for each row of ``keys`` ``[N, 3]``, the first source that holds it; sources are in order."""
    _, first_row, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    return source[first_row[inverse.reshape(-1)]]


def to_sequences(users: Sequence[UserEvents]) -> Sequences:
    """Line up one or more users' events for ``encode_history``."""
    offsets = np.concatenate([[0], np.cumsum([len(user) for user in users])]).astype(np.int64)
    return Sequences(
        offsets=offsets, **{name: np.concatenate([getattr(user, name) for user in users]) for name in EVENT_ARRAYS}
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Histories:
    """Stored histories of a release, mapped from disk.

    Args:
        users: user ids; row ``u`` of ``sequences`` is code ``u + 2``.
        sequences: item codes are the histories' own.
        codes: the retrieval vocabulary's code of each history code, UNKNOWN where it has none.
        links: the customers of ids that have no history themselves, such as devices.
    """

    users: Vocabulary
    sequences: Sequences
    codes: Ints
    links: IdentityMap = field(default_factory=IdentityMap.empty)

    @classmethod
    def load(cls, part: Part, vocabulary: Vocabulary, *, links: IdentityMap | None = None) -> Histories:
        """Map the histories of a customers part and translate their codes.

        Raises:
            ReleaseError: users and histories do not line up.
        """
        users = Vocabulary.load(part.path(layout.USERS))
        mapped = Sequences.load(_directory(part))
        # Plain views of the mapped files: quicker to slice.
        sequences = Sequences(**{name: np.asarray(getattr(mapped, name)) for name in ("offsets", *EVENT_ARRAYS)})
        own = Vocabulary.load(part.path(layout.HISTORY_VOCABULARY))
        if len(sequences.offsets) - 1 != len(users.ids):
            raise ReleaseError(
                f"{part.directory}: expected one history a user, found {len(sequences.offsets) - 1} "
                f"for {len(users.ids)} users; build the part again."
            )
        codes = np.concatenate([[PAD, UNKNOWN], vocabulary.encode(own.ids)]).astype(np.int32)
        return cls(users=users, sequences=sequences, codes=codes, links=links or IdentityMap.empty())

    def of_user(self, user_id: str) -> UserEvents:
        """Return a user's whole stored history, or that of the customer that the id belongs to; empty where there is none."""
        code = self.users.code_of(user_id)
        if code < FIRST:
            code = self.users.code_of(self.links.resolve([user_id])[0])
        if code < FIRST:
            return NOTHING
        span = slice(*self.sequences.offsets[code - FIRST : code - FIRST + 2])
        arrays = {name: getattr(self.sequences, name)[span] for name in EVENT_ARRAYS}
        return UserEvents(**arrays | {"item": self.codes[arrays["item"]]})


def _directory(part: Part) -> Path:
    return part.path(f"{layout.HISTORIES}/offsets.npy").parent


def to_microseconds(instant: dt.datetime) -> int:
    """Return an instant as UTC microseconds since 1970."""
    since = instant - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def to_instant(microseconds: int) -> dt.datetime | None:
    """Return UTC microseconds as an instant, ``None`` for 0: unknown."""
    return _EPOCH + dt.timedelta(microseconds=int(microseconds)) if microseconds else None
