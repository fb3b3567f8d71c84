"""Maximal marginal relevance: each next item is the one that fits best less what it has in common with those before.

Source: Carbonell and Goldstein 1998, "The Use of MMR, Diversity-Based Reranking", SIGIR.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.integer]
Floats = npt.NDArray[np.floating]


def mmr_order(vectors: Floats, *, strength: float, num: int) -> Ints:
    """Return the rows of a ranked list in a more diverse order, int64 ``[m]``: ``num`` are chosen, the rest follow as they were.

    The fit of row ``i`` of ``m`` is ``1 - i / m``, so that it means the same for cosines, chances and counts; what it
    has in common is the greatest cosine to a row chosen before.

    Args:
        vectors: unit length, in the order of the list, float32 ``[m, d]``.
        strength: 0 leaves the order as it is; 1 minds nothing but the cosines.
        num: how many to choose.
    """
    m = len(vectors)
    num = min(num, m)
    alike = vectors @ vectors.T  # [m, m]
    alike *= np.float32(strength)
    fit = ((1 - strength) * (1 - np.arange(m) / max(m, 1))).astype(np.float32)
    penalty = np.full(m, -strength, np.float32)  # no cosine is lower than -1
    chosen = np.empty(num, np.int64)
    for place in range(num):
        row = int((fit - penalty).argmax())
        chosen[place] = row
        fit[row] = -np.inf
        np.maximum(penalty, alike[row], out=penalty)
    rest = np.ones(m, bool)
    rest[chosen] = False
    return np.concatenate([chosen, np.flatnonzero(rest)])
