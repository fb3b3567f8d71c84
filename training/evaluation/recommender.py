"""What every model and every baseline can do: answer histories with ranked items."""

from __future__ import annotations

from typing import Protocol

from features.recommendations import Recommendations
from features.sequences import Sequences


class Recommender(Protocol):
    """Ranks items for each history."""

    @property
    def name(self) -> str:
        """How reports call it."""

    def recommend(self, query: Sequences, *, k: int, exclude_seen: bool) -> Recommendations:
        """Return the best ``k`` candidates for each history.

        Args:
            query: histories of ``Q`` users, oldest event first; an empty one is a new user.
            k: length of a list; shorter where fewer items qualify.
            exclude_seen: leave out every item of the history itself.

        Returns:
            ``Q`` lists of item codes, candidates only, distinct within a list.
        """
