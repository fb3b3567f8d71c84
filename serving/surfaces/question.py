"""What a surface is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from features.columns import EVENT_TYPE_CODES, PURCHASE
from serving.api.schemas import RecommendRequest, Repeat, RuleTouch, Strategy
from serving.history.stored import UserEvents
from serving.retrieval.item_index import Ask

Ints = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float32]

NO_ITEMS: Final = np.zeros(0, np.int64)
NO_SCORES: Final = np.zeros(0, np.float32)
_PURCHASE: Final = EVENT_TYPE_CODES[PURCHASE]


@dataclass(frozen=True, kw_only=True, eq=False)
class Question:
    """A request with what is known of its user.

    Args:
        request: as it came.
        user_id: whose profile may be looked up; ``None`` where there is no user, an erased one, or no consent.
        personalised: whether events may be used; where not, there are none here.
        events: stored, live and inline, of the types and items that the tower knows.
        history: stored, live and inline events of all types, of known items.
        all_are_purchases: the log has no purchases, so that every event stands for one.
        has_stored: whether the release holds any of them.
        item: code of ``item_id``, ``None`` where the surface does not read it.
        repeat: the request's, else the shop's.
        now_us: the instant that timing counts to, UTC microseconds.
        allowed: item codes that the request's filters leave, rising; ``None`` without filters.
        unknown_items: of the request's events.
        unread_event_types: of the request's events.
        left_out: item codes that rules leave out for this user, rising.
    """

    request: RecommendRequest
    user_id: str | None
    events: UserEvents
    history: UserEvents
    all_are_purchases: bool
    has_stored: bool
    item: int | None
    repeat: Repeat
    now_us: int
    allowed: Ints | None
    unknown_items: list[str]
    unread_event_types: list[str]
    personalised: bool = True
    left_out: Ints = field(default_factory=lambda: NO_ITEMS)

    @property
    def explain(self) -> bool:
        """Whether reasons are wanted."""
        return self.request.explain

    @cached_property
    def ask(self) -> Ask:
        """The question to the index: what was seen is left out where that is asked, what was bought where repeats are."""
        excluded: Ints = NO_ITEMS
        if self.request.surface != "buy_it_again":  # these were all seen and bought
            excluded = self.seen if self.request.exclude_seen else self.bought if self.repeat == "exclude" else NO_ITEMS
        if len(self.left_out):
            excluded = np.union1d(excluded, self.left_out)
        return Ask(k=self.request.k, excluded=excluded, allowed=self.allowed)

    @cached_property
    def seen(self) -> Ints:
        """Item codes of the history, rising."""
        return np.unique(self.history.item)

    @cached_property
    def bought(self) -> Ints:
        """Item codes with a purchase, rising."""
        return self.seen if self.all_are_purchases else purchased(self.history)

    def asking(self, *, allowed: Ints | None = None, excluded: Ints | None = None) -> Ask:
        """Return the question to the index, narrowed to ``allowed`` and without ``excluded`` as well."""
        ask = self.ask
        if allowed is not None:
            kept = allowed if ask.allowed is None else np.intersect1d(allowed, ask.allowed, assume_unique=True)
            ask = replace(ask, allowed=kept)
        if excluded is not None and len(excluded):
            both = np.union1d(ask.excluded, excluded) if len(ask.excluded) else excluded
            ask = replace(ask, excluded=both)
        return ask


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawn:
    """How a list was drawn at random.

    Args:
        num: candidates.
        ranks: that each item has among them, int64 ``[k]``; -1 for one that was not drawn, such as a pinned one.
        places: for which draw each item was taken, 0 for the first, int64 ``[k]``; -1 likewise.
    """

    num: int
    ranks: Ints
    places: Ints


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranked:
    """A surface's answer.

    Args:
        codes: best first, distinct.
        scores: non-increasing, float32.
        strategies: what chose each item.
        strategy: what chose the first; what was tried first where there is none.
        reasons: why, in words, one an item; empty where nobody asked.
        because: the items of the history that speak most for each; empty where nobody asked.
        touches: the rules that had a part in where each stands; the same.
        filled: so many of the last items are fallbacks.
        drawn: of a list that was drawn at random, how.
    """

    codes: Ints
    scores: Floats
    strategies: Sequence[Strategy]
    strategy: Strategy
    reasons: Sequence[str] = ()
    because: Sequence[tuple[str, ...]] = ()
    touches: Sequence[tuple[RuleTouch, ...]] = ()
    filled: int = 0
    drawn: Drawn | None = None

    @classmethod
    def by(cls, strategy: Strategy, codes: Ints, scores: Floats, reasons: Sequence[str] = ()) -> Ranked:
        """A list that one strategy chose."""
        return cls(
            codes=codes, scores=scores, strategies=[strategy] * len(codes), strategy=strategy, reasons=list(reasons)
        )

    def __len__(self) -> int:
        return len(self.codes)

    def then(self, more: Ranked, *, k: int) -> Ranked:
        """Fill up to ``k`` with items of another list; their scores are capped by those before, so that none rises."""
        rows = np.flatnonzero(~np.isin(more.codes, self.codes))[: max(0, k - len(self))].tolist()
        if not rows:
            return self
        return Ranked(
            codes=np.concatenate([self.codes, more.codes[rows]]),
            scores=np.minimum.accumulate(np.concatenate([self.scores, more.scores[rows]])),
            strategies=[*self.strategies, *(more.strategies[row] for row in rows)],
            strategy=self.strategy if len(self) else more.strategies[rows[0]],
            reasons=[*self.reasons, *(more.reasons[row] for row in rows)] if more.reasons else self.reasons,
        )


def purchased(events: UserEvents) -> Ints:
    """Return the codes of items that were bought, rising."""
    return np.unique(events.item[events.event_type == _PURCHASE])


def purchase_instants(events: UserEvents, code: int) -> Ints:
    """Return when an item was bought, UTC microseconds, oldest first; of a log without purchases, when it was met."""
    of_item = events.item == code
    bought = of_item & (events.event_type == _PURCHASE)
    return events.ts[bought if bought.any() else of_item]
