"""Kinds of demand by how often and how evenly an item sells, after Syntetos and Boylan.

Source: Syntetos, Boylan, Croston 2005, "On the categorization of demand patterns", JORS 56(5).
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]

CLASSES: Final = ("smooth", "intermittent", "erratic", "lumpy", "unsold")
INTERVAL: Final = 1.32  # mean periods from one sale to the next, above which demand is intermittent
SPREAD: Final = 0.49  # squared coefficient of variation of what sells at a time, above which it is erratic


def demand_classes(past: Floats) -> npt.NDArray[np.str_]:
    """Return each series' class, ``[I]``, by what was known of it.

    ============  =======================  ===================
    class         periods between sales    spread of the sizes
    ============  =======================  ===================
    smooth        < 1.32                   < .49
    intermittent  >= 1.32                  < .49
    erratic       < 1.32                   >= .49
    lumpy         >= 1.32                  >= .49
    unsold        nothing sold
    ============  =======================  ===================

    >>> demand_classes(np.array([[2.0, 2, 2, 2], [2, 0, 0, 2], [1, 9, 1, 1], [1, 0, 0, 9], [0, 0, np.nan, 0]])).tolist()
    ['smooth', 'intermittent', 'erratic', 'lumpy', 'unsold']

    Args:
        past: units before the first origin, ``[I, T]``, NaN where nothing is known.
    """
    sold = np.where(past > 0, past, np.nan)
    num_sales = np.isfinite(sold).sum(axis=1)
    count = np.maximum(num_sales, 1)
    interval = np.isfinite(past).sum(axis=1) / count
    size = np.nansum(sold, axis=1) / count
    squares = np.nansum(np.square(sold - size[:, None]), axis=1) / count
    spread = squares / np.where(num_sales > 0, size, 1.0) ** 2
    rare, uneven = interval >= INTERVAL, spread >= SPREAD
    return np.select(
        [num_sales == 0, ~rare & ~uneven, rare & ~uneven, ~rare & uneven],
        ["unsold", "smooth", "intermittent", "erratic"],
        "lumpy",
    )
