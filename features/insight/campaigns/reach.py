"""Whom each medium reaches, and whom they reach together.

A customer is reached by a medium where one of its messages was delivered, as ``messages`` has it.
"""

from __future__ import annotations

from typing import Final, TypeVar

import numpy as np
import pandas as pd

from features import columns as c
from features.insight.campaigns.messages import reached
from features.insight.inputs import Period
from features.insight.intervals import LEVEL, ratio, wilson
from features.tables.sql import run

BETWEEN: Final = "+"
ALL: Final = "all"

FrameT = TypeVar("FrameT")


def reach(events: FrameT, *, period: Period | None = None) -> FrameT:
    """Return how many customers each set of media reached.

    Args:
        events: rows of the event log.
        period: messages count whose first event is of these days; all where left out.

    Returns:
        media (names in order, joined by ``+``), customers: those reached by just these.
    """
    text = f"""
        WITH reached AS (SELECT DISTINCT {c.USER_ID}, medium FROM ({reached(period)}) WHERE got = 1)
        SELECT media, count(*) AS customers
        FROM (
            SELECT {c.USER_ID}, array_join(array_sort(collect_list(medium)), '{BETWEEN}') AS media
            FROM reached GROUP BY {c.USER_ID}
        ) GROUP BY media
    """
    return run(text, events=events)


def reach_by_medium(sets: pd.DataFrame, *, num_customers: int, level: float = LEVEL) -> pd.DataFrame:
    """Return each medium's reach, widest first, and that of all of them.

    Args:
        sets: from ``reach``, as pandas.
        num_customers: who could have been reached.
        level: of Wilson's intervals.

    Returns:
        medium (``all`` last), customers, share, low, high (of num_customers), only (reached by no other medium), added
        (not reached by those above).
    """
    members = _members(sets)
    counts = sets["customers"].to_numpy(np.int64)
    order = sorted(members, key=lambda name: (-int(counts[members[name]].sum()), name))
    rows, seen = [], np.zeros(len(sets), bool)
    for name in order:
        inside, single = members[name], sets["media"].to_numpy() == name
        rows.append((name, counts[inside].sum(), counts[single].sum(), counts[inside & ~seen].sum()))
        seen |= inside
    rows.append((ALL, counts.sum(), counts.sum(), 0))
    found = pd.DataFrame(rows, columns=["medium", "customers", "only", "added"])
    low, high = wilson(found["customers"], num_customers, level=level)
    share = ratio(found["customers"], num_customers)
    return found.assign(share=share, low=low, high=high)[
        ["medium", "customers", "share", "low", "high", "only", "added"]
    ]


def overlap(sets: pd.DataFrame) -> pd.DataFrame:
    """Return how many customers each two media reached, both: medium, other, customers, share (of the medium's)."""
    members, counts = _members(sets), sets["customers"].to_numpy(np.int64)
    rows = [
        (one, other, int(counts[members[one] & members[other]].sum()), int(counts[members[one]].sum()))
        for one in sorted(members)
        for other in sorted(members)
    ]
    found = pd.DataFrame(rows, columns=["medium", "other", "customers", "whole"])
    return found.assign(share=ratio(found["customers"], found.pop("whole")))


def _members(sets: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return which sets each medium is in, ``[S]``."""
    split = [set(text.split(BETWEEN)) for text in sets["media"]]
    names = sorted(set().union(*split)) if split else []
    return {name: np.array([name in media for media in split]) for name in names}
