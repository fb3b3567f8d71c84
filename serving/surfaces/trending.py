"""What gains ground now: in the customer's own category first, unless a filter names another."""

from __future__ import annotations

import numpy as np

from serving.release.state import ReleaseState
from serving.surfaces.cold import favourites, labels_of
from serving.surfaces.question import Question, Ranked


def trending(state: ReleaseState, question: Question) -> Ranked:
    """Return trending items, filled with favourites, which the strategy of an item tells apart."""
    table, category = state.surfaces.trending, _category(state, question)
    assert table is not None, "a question that lacks its table is refused"
    rising = favourites(
        table,
        question,
        category=category,
        strategies=("trending", "trending"),
        words=("Gaining ground in", "Gaining ground in the shop"),
    )
    if len(rising) >= question.ask.k:
        return rising
    liked = favourites(state.favourites, question, category=category, strategies=("favourites", "favourites"))
    return rising.then(liked, k=question.ask.k)


def _category(state: ReleaseState, question: Question) -> str:
    """Return the top-level category that comes first: the customer table's, else the one most looked at."""
    if question.request.filters is not None and question.request.filters.category is not None:
        return question.request.filters.category.strip("/").split("/")[0]
    category, _ = labels_of(state, question)
    if category or not len(question.history):
        return category
    looked_at = [name.split("/")[0] for name in state.catalog.category[question.history.item] if name]
    names, counts = np.unique(np.array(looked_at, dtype=str), return_counts=True)
    return str(names[counts.argmax()]) if len(names) else ""
