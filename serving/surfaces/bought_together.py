"""What goes with an item: learned from baskets, and told apart from what fills the list."""

from __future__ import annotations

import numpy as np

from serving.api.schemas import Strategy
from serving.release.state import ReleaseState
from serving.surfaces.neighbours import item_of, similar
from serving.surfaces.pairs import BoughtTogether
from serving.surfaces.question import Question, Ranked


def bought_together(state: ReleaseState, question: Question) -> Ranked:
    """Return the item's neighbours, then bestsellers of the categories that go with its own, then similar items.

    The strategy of each item says which: ``bought_together``, ``complements`` or ``similar``.
    """
    code, table, k = item_of(question), state.surfaces.pairs, question.ask.k
    assert table is not None, "a question that lacks its table is refused"
    ranked = _from_baskets(state, table, question, code)
    if len(ranked) < k:
        ranked = ranked.then(_complements(state, table, question, code), k=k)
    return ranked if len(ranked) >= k else ranked.then(similar(state, question), k=k)


def _from_baskets(state: ReleaseState, table: BoughtTogether, question: Question, code: int) -> Ranked:
    ask, span = question.ask, table.of_item(code)
    neighbour = table.neighbour[span]
    keep = (neighbour != code) & ~np.isin(neighbour, ask.excluded)
    if ask.allowed is not None:
        keep &= np.isin(neighbour, ask.allowed)
    rows = np.flatnonzero(keep)[: ask.k]
    support = table.support[span][rows].tolist()
    strategies: list[Strategy] = ["bought_together" if baskets else "complements" for baskets in support]
    name = state.name(code)
    reasons = [f"Bought with {name} in {_baskets(n)}" if n else f"Goes with items like {name}" for n in support]
    return Ranked(
        codes=neighbour[rows],
        scores=table.score[span][rows],
        strategies=strategies,
        strategy=strategies[0] if strategies else "bought_together",
        reasons=reasons if question.explain else (),
    )


def _complements(state: ReleaseState, table: BoughtTogether, question: Question, code: int) -> Ranked:
    """Bestsellers of the categories that go with the item's own."""
    categories = table.goes_with.get(str(state.catalog.category[code]), [])
    ask, source = question.asking(excluded=np.array([code])), state.favourites
    category = state.catalog.category[source.item]
    keep = np.isin(category, categories) & ~np.isin(source.item, ask.excluded)
    if ask.allowed is not None:
        keep &= np.isin(source.item, ask.allowed)
    rows = np.flatnonzero(keep)[: ask.k]
    own = state.catalog.category[code].split("/")[-1]
    reasons = [f"A favourite in {name}, which goes with {own}" for name in category[rows]] if question.explain else []
    return Ranked.by("complements", source.item[rows], source.score[rows], reasons)


def _baskets(number: int) -> str:
    return "1 basket" if number == 1 else f"{number} baskets"
