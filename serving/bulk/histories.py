"""Stored histories of many users at once, as ``KnownEvents`` and ``Preparation`` read them one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.columns import EVENT_TYPE_CODES, PURCHASE
from features.sequences import Sequences
from features.vocabulary import FIRST, UNKNOWN
from serving.bulk.nearest import Excluded
from serving.bulk.standing import Standing
from serving.history.stored import Histories
from serving.release.state import ReleaseState

Ints = npt.NDArray[np.integer]
Bools = npt.NDArray[np.bool_]
_PURCHASE = EVENT_TYPE_CODES[PURCHASE]


@dataclass(frozen=True, kw_only=True, eq=False)
class Known:
    """What is known of those users who have a history.

    Args:
        rows: who they are, rising places among the users asked about, ``[R]``.
        history: events of all types, of known items, of R users.
        events: those that the tower reads.
    """

    rows: Ints
    history: Sequences
    events: Sequences

    def take(self, places: Ints) -> Known:
        """Return some of these users."""
        return Known(rows=self.rows[places], history=self.history.take(places), events=self.events.take(places))

    def seen(self) -> Excluded:
        """Return the items of each history."""
        return Excluded.distinct(self.history.user_of_event, self.history.item, num_users=self.history.num_users)

    def bought(self, *, all_are_purchases: bool) -> Excluded:
        """Return the items that each user bought."""
        if all_are_purchases:
            return self.seen()
        is_bought = self.history.event_type == _PURCHASE
        user, item = self.history.user_of_event[is_bought], self.history.item[is_bought]
        return Excluded.distinct(user, item, num_users=self.history.num_users)

    def now_us(self, present_us: int) -> Ints:
        """Return the instant that timing counts to, of each user: see ``Clock``."""
        offsets = self.history.offsets
        now = np.full(len(offsets) - 1, present_us)
        held = np.flatnonzero(np.diff(offsets))
        now[held] = np.maximum(present_us, self.history.ts[offsets[held + 1] - 1] + 1)
        return now


def known_of(state: ReleaseState, user_ids: Sequence[str], standing: Standing) -> tuple[Known, Bools]:
    """Return what is known of users, and who of them has stored events that may be used, bool ``[Q]``."""
    is_known = np.zeros(len(user_ids), bool)
    if state.histories is None:
        nothing = Sequences.from_arrays(offsets=[0], item=[])
        return Known(rows=np.zeros(0, np.int64), history=nothing, events=nothing), is_known
    codes = _codes(state.histories, user_ids)
    rows = np.flatnonzero(codes >= FIRST)
    stored = state.histories.sequences.take(codes[rows] - FIRST)
    keep = standing.may_use(stored.ts, stored.user_of_event, rows=rows)
    stored = stored if keep is None else stored.where(keep)
    is_known[rows] = stored.lengths > 0
    item = state.histories.codes[stored.item]
    translated = Sequences(
        offsets=stored.offsets, item=item, event_type=stored.event_type, ts=stored.ts, price_band=stored.price_band
    )
    history = _where(translated, item > UNKNOWN)
    return Known(
        rows=rows, history=history, events=_where(history, state.knows_event_type[history.event_type])
    ), is_known


def _codes(histories: Histories, user_ids: Sequence[str]) -> Ints:
    """Return the code of each user, or of the customer that the id belongs to."""
    codes = histories.users.encode(user_ids).astype(np.int64)
    if len(histories.links) and (others := np.flatnonzero(codes < FIRST)).size:
        codes[others] = histories.users.encode(histories.links.resolve([user_ids[row] for row in others.tolist()]))
    return codes


def _where(sequences: Sequences, keep: Bools) -> Sequences:
    return sequences if keep.all() else sequences.where(keep)
