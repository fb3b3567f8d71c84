"""What stands in for an answer that takes too long: the shop's favourites, made ready beforehand."""

from __future__ import annotations

from typing import Final

import numpy as np

from serving.api.errors import RequestError
from serving.api.schemas import RecommendAnswer, RecommendedItem, RecommendRequest
from serving.release.state import ReleaseState

_MOST: Final = 1_000


class StandIn:
    """Answers from the best favourites alone: nothing of the customer is read, so nothing can be slow.

    Args:
        state: the release.
    """

    def __init__(self, state: ReleaseState) -> None:
        self._state = state
        self._codes = state.favourites.item[:_MOST]
        self._items = [
            RecommendedItem(
                item_id=state.item_ids[code],
                score=float(f"{score:.6g}"),
                title=state.catalog.title[code] or None,
            )
            for code, score in zip(self._codes.tolist(), state.favourites.score[:_MOST].tolist(), strict=True)
        ]

    def answer(self, request: RecommendRequest) -> RecommendAnswer:
        """Return the favourites that the request's filters leave; fewer than ``k`` where few of the best are left."""
        state = self._state
        return RecommendAnswer(
            items=self._filtered(request)[: request.k],
            strategy="favourites",
            release_id=state.release_id,
            model_version=state.model_version,
            personalised=False,
            degraded=True,
        )

    def _filtered(self, request: RecommendRequest) -> list[RecommendedItem]:
        if request.filters is None:
            return self._items
        try:
            allowed = self._state.filters.codes(request.filters)
        except RequestError:  # a filter that names nothing: the full answer would say so, this one shows nothing
            return []
        return [self._items[row] for row in np.flatnonzero(np.isin(self._codes, allowed)).tolist()]
