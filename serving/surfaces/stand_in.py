"""What stands in for an answer that takes too long: the shop's favourites, made ready beforehand."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from serving.api.errors import RequestError
from serving.api.schemas import RecommendAnswer, RecommendedItem, RecommendRequest
from serving.release.state import ReleaseState

Flags = npt.NDArray[np.bool_]
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

    def answer(self, request: RecommendRequest, shown: Flags | None = None) -> RecommendAnswer:
        """Return the favourites that filters, rules and stock leave; fewer than ``k`` where few of the best are left.

        Args:
            request: as it came.
            shown: which items rules and stock leave, by code; all where ``None``.
        """
        state = self._state
        return RecommendAnswer(
            items=self._left(request, shown)[: request.k],
            strategy="favourites",
            release_id=state.release_id,
            model_version=state.model_version,
            personalised=False,
            degraded=True,
        )

    def _left(self, request: RecommendRequest, shown: Flags | None) -> list[RecommendedItem]:
        if request.filters is None and shown is None:
            return self._items
        keep = np.ones(len(self._items), bool) if shown is None else shown[self._codes]
        if request.filters is not None:
            try:
                codes = self._state.filters.codes(request.filters)
                keep = keep if codes is None else keep & np.isin(self._codes, codes)
            except RequestError:  # a filter that names nothing: the full answer would say so, this one shows nothing
                return []
        return [self._items[row] for row in np.flatnonzero(keep).tolist()]
