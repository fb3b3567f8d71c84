"""How sure one may be of many comparisons at once.

Sources: Benjamini, Hochberg 1995, "Controlling the false discovery rate"; Holm 1979, "A simple sequentially rejective
multiple test procedure".
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from features.tags.lifts import false_discovery_rates

Floats = npt.NDArray[np.float64]


def benjamini_hochberg(p: npt.ArrayLike) -> Floats:
    """Return adjusted p-values: those at most q have a share of false discoveries of at most q in the mean.

    >>> benjamini_hochberg([0.01, 0.04, np.nan, 0.03]).round(3).tolist()
    [0.03, 0.04, nan, 0.04]
    """
    return _of_known(np.asarray(p, np.float64), false_discovery_rates)


def holm(p: npt.ArrayLike) -> Floats:
    """Return adjusted p-values: those at most alpha hold a single false one with a chance of at most alpha.

    >>> holm([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    return _of_known(np.asarray(p, np.float64), _holm)


def _holm(p: Floats) -> Floats:
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    return adjusted


def _of_known(p: Floats, adjust: object) -> Floats:
    assert callable(adjust)
    found, known = np.full(p.shape, np.nan), ~np.isnan(p)
    if known.any():
        found[known] = adjust(p[known])
    return found
