"""What a board does not show: figures that few customers stand behind, and the names of groups that few are in."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd

from features.insight.boards.dimensions import TIMES
from features.insight.boards.figures import CUSTOMERS
from features.insight.boards.metrics import Metric
from features.privacy.small_groups import Suppressed, suppress_small_groups

SMALL: Final = "(small)"  # stands for the name of a group that is too small to be named
ENDS: Final = ("", "_low", "_high")


def shown(frame: pd.DataFrame, metrics: Sequence[Metric], *, by: Sequence[str], minimum: int) -> Suppressed:
    """Return figures without those about few customers.

        30 came, 1 bought      orders, revenue and conversion are hidden, active customers are not
        4 came                 everything is, and the group's name unless it is a time

    Args:
        frame: from ``Figures.groups``.
        metrics: its figures.
        by: its dimensions.
        minimum: the fewest customers that are shown.

    Returns:
        The rows without the columns NAME_customers.
    """
    measures = [f"{metric.name}{end}" for metric in metrics for end in ENDS]
    found = suppress_small_groups(frame, counts=CUSTOMERS, measures=measures, minimum=minimum)
    hidden, kept = found.hidden.copy(), found.frame
    small = _few(frame[CUSTOMERS], minimum)
    for metric in metrics:
        about = f"{metric.name}_customers"
        own = [f"{metric.name}{end}" for end in ENDS]
        one = suppress_small_groups(frame[[about, *own]], counts=about, measures=own, minimum=minimum)
        for name in own:
            kept[name] = kept[name].mask(one.hidden)
        hidden, small = hidden | one.hidden, small | _few(frame[about], minimum)
    for name in by:
        if name not in TIMES:
            kept[name] = kept[name].astype(object).mask(found.hidden, SMALL)
    return dataclasses.replace(
        found,
        frame=kept.drop(columns=[f"{metric.name}_customers" for metric in metrics]),
        hidden=hidden,
        num_small=int((hidden & small).sum()),
        num_complementary=int((hidden & ~small).sum()),
    )


def _few(counts: pd.Series, minimum: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    number = counts.fillna(0).to_numpy(np.int64)
    return (number > 0) & (number < minimum)
