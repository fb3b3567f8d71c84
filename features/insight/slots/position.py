"""How likely each slot is looked at, apart from what stands in it: the position-based model.

    P(answer | item i in slot s) = look[s] * appeal[i]

Good items stand in good slots, so a slot's plain rate says both. Items that stood in several slots tell them apart.
Only ratios of looks are known: the slot most looked at has 1.

Source: Richardson, Dominowska and Ragno 2007; Craswell et al. 2008 (the examination hypothesis); Wang et al. 2018.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from features.insight.slots.counts import Counts, Estimate, Floats

_NUM_DRAWS: Final = 400


@dataclass(frozen=True, kw_only=True, eq=False)
class PositionModel:
    """What was found.

    Args:
        slots: slot, look (1 for the slot most looked at), low, high (95%), shown, answers.
        items: item_id, appeal (answers a look, shrunk to the mean), shown, answers, looked (times shown, each as far
            as its slot is looked at).
        apart: slots that share no item with the best one, whose ``look`` cannot be told.
        counts: what it was fitted to.
        spread: how many times wider each slot's answers spread than Poisson's, ``[S]`` of ``counts``.
        estimate: by slot and item of ``counts``.
    """

    slots: pd.DataFrame
    items: pd.DataFrame
    apart: tuple[str, ...]
    counts: Counts
    spread: Floats
    estimate: Estimate


def position_model(
    answers: pd.DataFrame, *, answer: str = "clicked", spread: Mapping[str, float] | None = None, seed: int = 0
) -> PositionModel:
    """Fit the model.

    Args:
        answers: slot, item_id, shown and a column of answers; from ``slot_answers``, in memory; at least one row.
        answer: the column: ``clicked`` or ``bought``.
        spread: how many times wider each slot's answers spread than Poisson's, as those of the same customers are alike
            (``features.insight.slots.repeats.spread_of``); 1 where left out.
        seed: of the draws that intervals come from: each draws answers anew from what was fitted (parametric bootstrap).

    Returns:
        The model, slots from the most looked at on.
    """
    rows = answers[answers["shown"] > 0].sort_values(["slot", "item_id"])
    counts, came = Counts.of(rows), rows[answer].to_numpy(np.float64)
    known = counts.together(came)
    found = counts.estimate(came, known=known)
    look = np.where(known, found.look, np.nan)
    wider = np.array([(spread or {}).get(str(name), 1.0) for name in counts.slots])
    low, high = _interval(counts, came, int(np.nanargmax(look)), wider, np.random.default_rng(seed))
    slots = pd.DataFrame(
        {
            "slot": counts.slots,
            "look": look,
            "low": np.where(known, low, np.nan),
            "high": np.where(known, high, np.nan),
            "shown": counts.by_slot(counts.shown).astype(np.int64),
            "answers": counts.by_slot(came).astype(np.int64),
        }
    )
    items = pd.DataFrame(
        {
            "item_id": counts.items,
            "appeal": found.appeal,
            "shown": counts.by_item(counts.shown * known[counts.slot]).astype(np.int64),
            "answers": found.answers.astype(np.int64),
            "looked": found.looked,
        }
    )
    items = items[items["shown"] > 0]
    return PositionModel(
        slots=slots.sort_values("look", ascending=False, kind="stable", ignore_index=True),
        items=items.sort_values(["appeal", "item_id"], ascending=[False, True], ignore_index=True),
        apart=tuple(map(str, counts.slots[~known])),
        counts=counts,
        spread=wider,
        estimate=found,
    )


def _interval(
    counts: Counts, came: Floats, best: int, spread: Floats, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Return the ends of looks' 95% intervals ``[S]``."""
    look, appeal = counts.fit(came)
    mean = counts.shown * look[counts.slot] * appeal[counts.item]
    looks = np.array([counts.fit(counts.draw(mean, spread, rng), start=look)[0] for _ in range(_NUM_DRAWS)])
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = np.nanquantile(looks / looks[:, [best]], [0.025, 0.975], axis=0)
    return low, high
