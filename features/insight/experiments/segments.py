"""The effect in parts of the users: each with its interval, and whether the parts differ at all.

Source: Cochran 1954, "The combination of estimates from different experiments" (Q).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd
from scipy.special import chdtrc

from features.errors import DataError, did_you_mean
from features.insight.experiments.participants import Participants
from features.insight.experiments.results import corrected, lifts

SEGMENT: Final = "segment"
_REST: Final = "(none)"


def lifts_by_segment(participants: Participants, column: str) -> pd.DataFrame:
    """Return the primary lift of each metric, arm and segment.

    A segment must have been settled before the assignment, or the arm may have decided who is in it.

    Args:
        participants: of the test, with a column of segments in their frame.
        column: its name; users who have none are ``(none)``.

    Returns:
        segment, then as ``results.lifts``; ``q`` and ``p_holm`` are over all segments, metrics and arms. Segments with
        fewer than two users in an arm have no intervals.

    Raises:
        DataError: there is no such column.
    """
    frame = participants.frame
    if column not in frame:
        raise DataError(
            f"segments: expected a column {column!r} of the users, found {', '.join(map(str, frame))}."
            f"{did_you_mean(column, map(str, frame))}"
        )
    named = frame[column].astype(object).where(frame[column].notna(), _REST).astype(str)
    tables = []
    for segment in sorted(named.unique()):
        table = lifts(participants, (named == segment).to_numpy(bool))
        table.insert(0, SEGMENT, segment)
        tables.append(table[table["primary"]])
    every = pd.concat(tables, ignore_index=True)
    return corrected(every.drop(columns=["q", "p_holm"]))


def heterogeneity(by_segment: pd.DataFrame) -> pd.DataFrame:
    """Return one row a metric and arm: whether the segments' effects differ by more than chance.

    ``Q = sum w_s (d_s - mean)^2`` with weights 1 / variance, a chi-square of one less than the segments.

    Args:
        by_segment: from ``lifts_by_segment``.

    Returns:
        metric, arm, num_segments (with an interval), q_statistic, p (of no difference between segments).
    """
    rows: list[dict[str, Any]] = []
    for (metric, arm), table in by_segment.groupby(["metric", "arm"], sort=False):
        known = table[table["low"].notna()]
        weights = 1 / np.square(known["se"].to_numpy(float))
        gaps = known["difference"].to_numpy(float)
        centre = np.average(gaps, weights=weights) if len(known) else np.nan
        statistic = float(np.sum(weights * np.square(gaps - centre)))
        p = float(chdtrc(len(known) - 1, statistic)) if len(known) > 1 else np.nan
        rows.append({"metric": metric, "arm": arm, "num_segments": len(known), "q_statistic": statistic, "p": p})
    return pd.DataFrame(rows)
