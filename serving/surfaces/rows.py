"""Ranked codes as the items of an answer, whole columns at a time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from serving.api.schemas import RecommendedItem
from serving.release.state import ReleaseState
from serving.surfaces.question import Ranked

_DIGITS = 6


def items_of(state: ReleaseState, ranked: Ranked) -> list[RecommendedItem]:
    """Return the items of an answer, best first."""
    ids, titles = state.item_ids[ranked.codes].tolist(), state.catalog.title[ranked.codes].tolist()
    scores = rounded(ranked.scores).tolist()
    if _is_plain(ranked):
        return [
            RecommendedItem(item_id=id_, score=score, title=title or None)
            for id_, score, title in zip(ids, scores, titles, strict=True)
        ]
    nothing = [None] * len(ranked)
    columns = zip(
        *(ids, scores, titles, ranked.strategies),
        *(ranked.reasons or nothing, ranked.because or nothing, ranked.touches or nothing),
        strict=True,
    )
    return [
        RecommendedItem(
            item_id=id_,
            score=score,
            title=title or None,
            reason=reason,
            strategy=None if strategy == ranked.strategy else strategy,
            because=because or (),
            rules=rules or (),
        )
        for id_, score, title, strategy, reason, because, rules in columns
    ]


def rounded(scores: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Return scores with six significant digits, as ``float(f"{score:.6g}")`` does one by one.

    >>> rounded(np.array([0.123456789, 1234567.0, 0.0])).tolist()
    [0.123457, 1234570.0, 0.0]
    """
    exact = scores.astype(np.float64)
    magnitude = np.where(exact == 0, 1.0, np.abs(exact))
    digits = _DIGITS - 1 - np.floor(np.log10(magnitude))  # behind the point; below 0 those of large numbers
    # Powers of ten are exact only above 1: multiply by one and divide by it again, or the other way round.
    scale = 10.0 ** np.abs(digits)
    return np.where(digits >= 0, np.rint(exact * scale) / scale, np.rint(exact / scale) * scale)


def _is_plain(ranked: Ranked) -> bool:
    """Whether one strategy chose all items and nothing is to be said of any."""
    told = ranked.reasons or ranked.because or ranked.touches
    return not told and set(ranked.strategies) <= {ranked.strategy}
