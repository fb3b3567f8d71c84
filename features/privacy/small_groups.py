"""Small groups in reports: a figure about few customers says something about each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.errors import ConfigError


@dataclass(frozen=True, kw_only=True, eq=False)
class Suppressed:
    """A table that may be shown.

    Args:
        frame: the rows as they came; in a hidden row counts and measures are missing.
        hidden: which rows are, bool ``[N]``.
        num_small: rows hidden because they are small.
        num_complementary: rows hidden so that a total does not give a small one away.
        note: what a reader must know, blank where nothing is hidden.
    """

    frame: pd.DataFrame
    hidden: npt.NDArray[np.bool_]
    num_small: int
    num_complementary: int
    note: str


def suppress_small_groups(
    frame: pd.DataFrame,
    *,
    counts: str,
    minimum: int,
    measures: Sequence[str] = (),
    within: Sequence[str] = (),
) -> Suppressed:
    """Hide the figures of groups of fewer than ``minimum`` customers.

    Where a total hides one row alone, the total less the others would give it away: the smallest of the others is
    hidden too (complementary suppression). So it is while those hidden together are fewer than ``minimum``.

        a 40, b 25, c 3     total 68 is shown: c = 68 - 65, so b is hidden too
        a 40, b 0, c 12     nothing is hidden: an empty group holds nobody

    Args:
        frame: one row a group; left as it is.
        counts: the column with the number of customers.
        minimum: the fewest customers that are shown (``privacy.minimum_group`` in ``shop.yaml``).
        measures: further columns about the customers of a row, such as means, hidden with it.
        within: columns that name the total which a row is part of; all rows are of one where left out.

    Raises:
        ConfigError: a column is missing.
    """
    missing = [name for name in (counts, *measures, *within) if name not in frame]
    if missing:
        raise ConfigError(f"suppress_small_groups: expected a column {missing[0]!r}, found {list(frame.columns)}.")
    number = frame[counts].fillna(0).to_numpy(np.int64)
    total = frame.groupby(list(within), dropna=False, sort=False).ngroup() if within else pd.Series(0, frame.index)
    small = (number > 0) & (number < minimum)
    hidden = small.copy()
    for group in np.unique(total.to_numpy()):
        _hide_complements(hidden, number, np.flatnonzero(total.to_numpy() == group), minimum=minimum)
    shown = frame.copy()
    for name in (counts, *measures):
        shown[name] = frame[name].convert_dtypes().mask(hidden)
    num_small, num_complementary = int(small.sum()), int((hidden & ~small).sum())
    note = _note(num_small, num_complementary, minimum)
    return Suppressed(frame=shown, hidden=hidden, num_small=num_small, num_complementary=num_complementary, note=note)


def _hide_complements(
    hidden: npt.NDArray[np.bool_], number: npt.NDArray[np.int64], rows: npt.NDArray[np.int64], *, minimum: int
) -> None:
    """Hide the smallest rows of a total until two or more are, which hold ``minimum`` customers together."""
    if not hidden[rows].any():
        return
    order = rows[np.argsort(number[rows], kind="stable")]
    for row in order[~hidden[order] & (number[order] > 0)]:
        if hidden[rows].sum() >= 2 and number[rows][hidden[rows]].sum() >= minimum:
            return
        hidden[row] = True


def _note(num_small: int, num_complementary: int, minimum: int) -> str:
    if not num_small:
        return ""
    groups = "1 group" if num_small == 1 else f"{num_small} groups"
    more = f", and {num_complementary} more that a total would have given away" if num_complementary else ""
    return f"Not shown: {groups} of fewer than {minimum} customers{more}."
