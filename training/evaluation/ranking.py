"""From scores to ranked lists: the whole catalogue, ties broken at random.

B histories in a batch, V item codes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from features.recommendations import Recommendations
from features.sequences import Sequences

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.integer]
Bools = npt.NDArray[np.bool_]

_CELLS_A_BATCH: Final = 4_000_000  # 16 MB of scores
_ALL_BUT_SIGN: Final = np.int32(0x7FFFFFFF)


def rank_in_batches(
    score: Callable[[Sequences], Floats],
    query: Sequences,
    *,
    candidates: Bools,
    k: int,
    exclude_seen: bool,
    seed: int = 0,
) -> Recommendations:
    """Score every item for each history and keep the best ``k``.

    Args:
        score: histories ``[B]`` to scores ``[B, V]``; ``-inf`` where an item is no answer. May be overwritten.
        query: histories ``[Q]``.
        candidates: bool ``[V]``, which items may be shown.
        k: length of a list.
        exclude_seen: leave out the items of the history.
        seed: of the tie-breaking; a list does not depend on how histories fall into batches.
    """
    rng = np.random.default_rng(seed)
    batch_size = max(1, _CELLS_A_BATCH // len(candidates))
    items, scores = [], []
    for start in range(0, query.num_users, batch_size):
        batch = query.take(np.arange(start, min(start + batch_size, query.num_users)))
        batch_scores = score(batch)  # [B, V]
        batch_scores[:, ~candidates] = -np.inf
        if exclude_seen:
            batch_scores[batch.user_of_event, batch.item] = -np.inf
        best, best_scores = top_k(batch_scores, k, rng)
        items.append(best)
        scores.append(best_scores)
    if not items:
        return Recommendations.from_lists([], [])
    return Recommendations.from_top_k(np.concatenate(items), np.concatenate(scores))


def top_k(scores: Floats, k: int, rng: np.random.Generator) -> tuple[Ints, Floats]:
    """Return the columns of each row's ``k`` highest scores, best first, and these scores, both ``[B, min(k, V)]``.

    Equal scores come in random order; distinct ones never swap: the high 32 bits of a sort key hold
    the score's own order and the low 32 bits are random.

    Args:
        scores: float32 ``[B, V]`` without NaN.
        k: at least 1.
        rng: each row takes V draws from it, whatever its scores are.
    """
    keys = _ordered_bits(scores).astype(np.int64) << 32
    keys |= rng.integers(0, 1 << 32, size=scores.shape, dtype=np.uint32)
    width = min(k, scores.shape[1])
    best = np.argpartition(keys, scores.shape[1] - width, axis=1)[:, -width:]
    order = np.argsort(np.take_along_axis(keys, best, axis=1), axis=1)[:, ::-1]
    best = np.take_along_axis(best, order, axis=1)
    return best, np.take_along_axis(scores, best, axis=1)


def _ordered_bits(scores: Floats) -> npt.NDArray[np.int32]:
    """Return integers that compare as the scores do; IEEE 754 floats below 0 compare backwards bit by bit."""
    assert not np.isnan(scores).any(), "a NaN score has no rank"
    bits = (scores.astype(np.float32, copy=False) + np.float32(0)).view(np.int32)  # + 0 turns -0.0 into 0.0
    return np.where(bits < 0, bits ^ _ALL_BUT_SIGN, bits)
