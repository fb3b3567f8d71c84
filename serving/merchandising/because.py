"""Which items of the history, or of the page, speak most for each item of a list."""

from __future__ import annotations

from typing import Final

import numpy as np

from serving.release.state import ReleaseState
from serving.surfaces.question import Question, Ranked

_NUM_NAMED: Final = 3
# Others are ranked by something else than closeness to the history.
_BY_HISTORY: Final = frozenset({"history", "session", "new_arrivals"})


def because_of(state: ReleaseState, question: Question, ranked: Ranked) -> list[tuple[str, ...]]:
    """Return ids for each item, the closest first: the page's item, the item itself where it was bought, or the history's.

    Args:
        state: the release.
        question: with the history.
        ranked: the list.
    """
    if question.item is not None:
        own = (str(state.item_ids[question.item]),)
        return [own if strategy in ("similar", "upgrade", "bought_together") else () for strategy in ranked.strategies]
    seen = np.unique(question.events.item)
    met = set(question.seen.tolist())
    closest = _closest(state, ranked, seen) if len(seen) and len(ranked) else [()] * len(ranked)
    return [
        (str(state.item_ids[code]),) if code in met else near if strategy in _BY_HISTORY else ()
        for code, near, strategy in zip(ranked.codes.tolist(), closest, ranked.strategies, strict=True)
    ]


def _closest(state: ReleaseState, ranked: Ranked, seen: np.ndarray) -> list[tuple[str, ...]]:
    nearness = state.index.vectors[ranked.codes] @ state.index.vectors[seen].T  # [k, S]
    best = np.argsort(-nearness, axis=1, kind="stable")[:, :_NUM_NAMED]
    return [tuple(str(state.item_ids[code]) for code in seen[row]) for row in best]
