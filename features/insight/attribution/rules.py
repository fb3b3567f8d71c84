"""Rules that split each conversion over its path: first, last, last non-direct, linear, position, time decay.

path  a > b > direct      first a   last direct   last non-direct b   linear a 1/3, b 1/3, direct 1/3
                          position a .4, b .2, direct .4
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from features.insight.attribution.counts import Floats, Ints, JourneyCounts

END_SHARE: Final = 0.4  # of the first touch, and of the last; those between share the rest


def first_share(counts: JourneyCounts) -> Floats:
    """Return what each step has of its conversion, ``[S]``: all for the first."""
    return _at(counts, counts.offsets[:-1])


def last_share(counts: JourneyCounts) -> Floats:
    """Return what each step has of its conversion, ``[S]``: all for the last."""
    return _at(counts, counts.offsets[1:] - 1)


def last_non_direct_share(counts: JourneyCounts) -> Floats:
    """Return what each step has of its conversion, ``[S]``: all for the last that is not direct, if there is one."""
    number = np.arange(len(counts.step))
    told = np.maximum.reduceat(np.where(counts.step == counts.direct, -1, number), counts.offsets[:-1])
    return _at(counts, np.where(told < 0, counts.offsets[1:] - 1, told))


def linear_share(counts: JourneyCounts) -> Floats:
    """Return what each step has of its conversion, ``[S]``: the same for all."""
    return 1.0 / counts.lengths[counts.row]


def position_share(counts: JourneyCounts) -> Floats:
    """Return what each step has of its conversion, ``[S]``: 40% for the ends, 20% shared by those between.

    Of two touches each has a half, a single one has all.
    """
    length = counts.lengths[counts.row]
    between = (1 - 2 * END_SHARE) / np.maximum(length - 2, 1)
    ends = first_share(counts) + last_share(counts)
    return np.where(length == 1, 1.0, np.where(length == 2, 0.5, np.where(ends > 0, END_SHARE, between)))


SHARES: Final[dict[str, Callable[[JourneyCounts], Floats]]] = {
    "first": first_share,
    "last": last_share,
    "last_non_direct": last_non_direct_share,
    "linear": linear_share,
    "position": position_share,
}


def rule_credits(counts: JourneyCounts, rule: str) -> Floats:
    """Return each group's conversions and revenue by touch, ``[G, C, 2]``.

    Args:
        counts: the journeys.
        rule: of ``SHARES``, or ``time_decay``: 2 to the power of minus (time to the conversion / half-life), as shares.
    """
    if rule == "time_decay":
        return counts.decayed
    share, row = SHARES[rule](counts), counts.row
    cell = counts.group[row] * counts.num_touches + counts.step
    size = counts.num_groups * counts.num_touches
    parts: list[Floats] = [
        np.bincount(cell, weights=share * worth[row], minlength=size).astype(np.float64)
        for worth in (counts.conversions, counts.revenue)
    ]
    return np.stack(parts, axis=1).reshape(counts.num_groups, counts.num_touches, 2)


def _at(counts: JourneyCounts, places: Ints) -> Floats:
    share = np.zeros(len(counts.step))
    share[places] = 1.0
    return share
