"""What customers alike bought lately: by favourite top-level category and growth stage, worked out at load."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.columns import EVENT_TYPE_CODES, PURCHASE
from features.surfaces import DAY_US
from features.vocabulary import FIRST
from serving.customers.book import CustomerBook
from serving.history.stored import Histories

Ints = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float32]
Text = npt.NDArray[np.object_]

HALF_LIFE_DAYS: Final = 30.0
# The larger group counts as much as this many recent events of one's own.
PRIOR_EVENTS: Final = 50.0
# Fewer customers tell more about themselves than about those alike.
MIN_CUSTOMERS: Final = 5
_MAX_ITEMS: Final = 1_000
_PURCHASE: Final = EVENT_TYPE_CODES[PURCHASE]


@dataclass(frozen=True, kw_only=True)
class Group:
    """Customers alike, and what they bought.

    Args:
        category: top-level category that they like best, ``""`` where it is not asked for.
        stage: of growth, ``""`` where it is not asked for.
        item: codes that may be shown, best first, int64 ``[n]``.
        score: share of the group's events, decayed, float32 ``[n]``.
    """

    category: str
    stage: str
    item: Ints
    score: Floats

    @property
    def words(self) -> str:
        """Who they are, as in "Liked by ...".

        >>> Group(category="food", stage="new", item=np.zeros(0), score=np.zeros(0)).words
        'new customers who like food best'
        """
        who = f"{self.stage} customers" if self.stage else "customers"
        return f"{who} who like {self.category} best" if self.category else who


@dataclass(frozen=True, kw_only=True)
class Segments:
    """Groups by (category, stage); a small one is shrunk to, or left out for, the larger one that holds it.

    (category, stage) shrinks to (category), and that, like (stage), to the shop.
    """

    groups: dict[tuple[str, str], Group]

    @classmethod
    def of(cls, histories: Histories, customers: CustomerBook, *, available: npt.NDArray[np.bool_]) -> Segments:
        """Count what each group bought: purchases where the histories hold any, else all events.

        Args:
            histories: of the release's customers.
            customers: their categories and stages.
            available: what may be shown, bool ``[V]``.
        """
        category, stage = customers.labels_of(histories.users.ids)
        events = _events(histories, available)
        counts = _Counts(events=events, num_codes=len(available))
        shop = counts.shares(np.ones(len(events), bool), prior=None)
        groups: dict[tuple[str, str], Group] = {}
        for name, members in _groups_of(category):
            larger, kept = counts.add(groups, (name, ""), members, prior=shop)
            for below, both in _groups_of(np.where(members, stage, "")) if kept else ():
                counts.add(groups, (name, below), both, prior=larger)
        for name, members in _groups_of(stage):
            counts.add(groups, ("", name), members, prior=shop)
        return cls(groups=groups)

    def group_of(self, category: str, stage: str) -> Group | None:
        """Return the smallest group that a customer belongs to, ``None`` where there is none."""
        for key in ((category, stage), (category, ""), ("", stage)):
            if key in self.groups and key != ("", ""):
                return self.groups[key]
        return None


@dataclass(frozen=True, kw_only=True, eq=False)
class _Counts:
    """Events that count: ``user`` (row of the histories), ``item`` and ``weight``."""

    events: pd.DataFrame
    num_codes: int

    def shares(
        self, chosen: npt.NDArray[np.bool_], *, prior: npt.NDArray[np.float64] | None
    ) -> npt.NDArray[np.float64]:
        """Return each item's share of the chosen events' weight, shrunk to ``prior``, float64 ``[V]``."""
        rows = self.events[chosen]
        weight = np.bincount(rows["item"], rows["weight"], minlength=self.num_codes)
        total = weight.sum()
        if prior is None:
            return weight / max(total, 1e-12)
        return np.asarray((weight + PRIOR_EVENTS * prior) / (total + PRIOR_EVENTS))

    def add(
        self,
        groups: dict[tuple[str, str], Group],
        key: tuple[str, str],
        members: npt.NDArray[np.bool_],
        *,
        prior: npt.NDArray[np.float64],
    ) -> tuple[npt.NDArray[np.float64], bool]:
        """Add a group where enough of its members have events; return its shares, and whether it was added."""
        chosen = members[self.events["user"].to_numpy()]
        if self.events["user"][chosen].nunique() < MIN_CUSTOMERS:
            return prior, False
        shares = self.shares(chosen, prior=prior)
        best = np.lexsort((np.arange(len(shares)), -shares))[:_MAX_ITEMS]
        best = best[shares[best] > 0]
        groups[key] = Group(category=key[0], stage=key[1], item=best, score=shares[best].astype(np.float32))
        return shares, True


def _groups_of(label: Text) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    """Yield each label but the blank one, and who has it."""
    for name in sorted(set(label) - {""}):
        yield name, label == name


def _events(histories: Histories, available: npt.NDArray[np.bool_]) -> pd.DataFrame:
    sequences = histories.sequences
    frame = pd.DataFrame({"user": sequences.user_of_event, "item": histories.codes[sequences.item], "ts": sequences.ts})
    bought = sequences.event_type == _PURCHASE
    keep = available[frame["item"]] & (frame["item"] >= FIRST)
    keep &= bought if bought.any() else True
    age_days = (sequences.ts.max(initial=0) - frame["ts"]) / DAY_US
    frame["weight"] = np.exp2(-age_days / HALF_LIFE_DAYS)
    return frame[keep].reset_index(drop=True)
