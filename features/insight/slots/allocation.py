"""Which items should stand in which slots, and what that would gain.

By the position-based model a slot brings ``look * appeal`` of what stands in it, so the most appealing item belongs in
the slot most looked at, the next in the next, and so on (the rearrangement inequality). One item stands in one slot, for
everybody: where slots are filled customer by customer, the gain says what one list for all would bring, not that it
would beat them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.insight.slots.counts import Floats, gamma_prior
from features.insight.slots.definition import SlotDefinition
from features.insight.slots.position import PositionModel

_NUM_WORLDS: Final = 200


@dataclass(frozen=True, kw_only=True, eq=False)
class Allocation:
    """A proposal.

    Args:
        frame: slot, item_id, look, appeal, now (what the slot brought, a thousand times shown), expected (what it
            would bring with the item), in the goal's unit.
        gain: what all slots together would bring more, as a share of what they bring now by the model.
        low: of its 95% interval.
        high: of it.
    """

    frame: pd.DataFrame
    gain: float
    low: float
    high: float


def propose(
    model: PositionModel, answers: pd.DataFrame, definition: SlotDefinition, *, seed: int = 0
) -> Allocation | None:
    """Return a proposal, or nothing where there are fewer slots or items than two, or no answers.

    The interval is that of what such proposals turn out to bring: worlds are drawn whose appeals are those that the
    answers leave possible, answers are drawn in each, and the same steps propose from them; what the proposal brings
    there, less what it promised, says how far promises are off.

    Args:
        model: of clicks.
        answers: what it was fitted to.
        definition: the goal, and how often an item must have been shown.
        seed: of the worlds.
    """
    counts, found = model.counts, model.estimate
    shown = counts.wide(counts.shown)
    known = np.isin(counts.slots, list(model.slots.loc[model.slots["look"] > 0, "slot"]))
    offered = (shown[known].sum(axis=0) >= definition.min_shown) & (found.looked > 0)
    if known.sum() < 2 or offered.sum() < 2 or not found.answers[offered].sum():
        return None
    worth = _worth_of_answer(answers, counts.items, definition)
    plan = _Plan.of(found.look * known, found.appeal * worth, shown, offered)
    rng = np.random.default_rng(seed)
    off = []
    for _ in range(_NUM_WORLDS):
        appeal = rng.gamma(found.answers + found.prior[0]) / (found.looked + found.prior[1])
        mean = counts.shown * found.look[counts.slot] * appeal[counts.item]
        again = counts.estimate(counts.draw(mean, model.spread, rng), known=known, start=found.look)
        promised = _Plan.of(again.look * known, again.appeal * worth, shown, offered)
        off.append(
            promised.gain(found.look, appeal * worth, shown) - promised.gain(again.look, again.appeal * worth, shown)
        )
    gain = plan.gain(found.look, found.appeal * worth, shown)
    low, high = gain + np.quantile(off, [0.025, 0.975])
    now = found.look * (shown @ (found.appeal * worth)) / np.maximum(shown.sum(axis=1), 1.0)
    frame = pd.DataFrame(
        {
            "slot": counts.slots[plan.slots],
            "item_id": counts.items[plan.items],
            "look": found.look[plan.slots],
            "appeal": found.appeal[plan.items],
            "now": 1000 * now[plan.slots],
            "expected": 1000 * found.look[plan.slots] * (found.appeal * worth)[plan.items],
        }
    )
    return Allocation(frame=frame, gain=gain, low=float(low), high=float(high))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Plan:
    """Which item, by position, stands in which slot."""

    slots: npt.NDArray[np.intp]
    items: npt.NDArray[np.intp]

    @classmethod
    def of(cls, look: Floats, worth: Floats, shown: Floats, offered: npt.NDArray[np.bool_]) -> _Plan:
        """Return the best items for the slots that bring most looks."""
        slots = np.argsort(-look * shown.sum(axis=1), kind="stable")[: int((look > 0).sum())]
        items = np.argsort(-np.where(offered, worth, -np.inf), kind="stable")[: int(offered.sum())]
        size = min(len(slots), len(items))
        return cls(slots=slots[:size], items=items[:size])

    def gain(self, look: Floats, worth: Floats, shown: Floats) -> float:
        """Return what its slots would bring more, as a share of what they bring."""
        times = shown.sum(axis=1)[self.slots] * look[self.slots]
        before = (look[self.slots] * (shown[self.slots] @ worth)).sum()
        return float((times * worth[self.items]).sum() / before - 1) if before > 0 else 0.0


def _worth_of_answer(answers: pd.DataFrame, items: pd.Index, definition: SlotDefinition) -> Floats:
    """Return what a click on each item is worth in the goal's unit, ``[I]``; shrunk to the mean of all items."""
    if definition.goal == "clicks":
        return np.ones(len(items))
    sums = answers.groupby("item_id")[["clicked", "bought", "revenue"]].sum().reindex(items)
    clicked, bought, revenue = (sums[name].to_numpy(np.float64) for name in ("clicked", "bought", "revenue"))
    shape, rate = gamma_prior(bought, clicked)
    each = (bought + shape) / (clicked + rate)
    if definition.goal == "purchases":
        return np.asarray(each)
    usual = revenue.sum() / max(bought.sum(), 1.0)
    return np.asarray(each * (revenue + usual) / (bought + 1))
