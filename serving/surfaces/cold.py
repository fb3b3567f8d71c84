"""For someone without events: customers alike, then favourites of their category, then the shop's."""

from __future__ import annotations

import numpy as np

from serving.api.schemas import Strategy
from serving.release.state import ReleaseState
from serving.retrieval.favourites import Favourites
from serving.surfaces.question import Question, Ranked
from serving.surfaces.segments import Group


def answer(state: ReleaseState, question: Question) -> Ranked:
    """Return what the smallest group of the customer bought, filled with favourites."""
    category, stage = labels_of(state, question)
    group = None if state.surfaces.segments is None else state.surfaces.segments.group_of(category, stage)
    liked = favourites(state.favourites, question, category=category)
    return liked if group is None else _of_group(question, group).then(liked, k=question.ask.k)


def labels_of(state: ReleaseState, question: Question) -> tuple[str, str]:
    """Return the user's top-level category and growth stage, blank where they are not known."""
    if question.user_id is None or state.customers is None:
        return "", ""
    return state.customers.labels(question.user_id)


def favourites(
    source: Favourites,
    question: Question,
    *,
    category: str,
    strategies: tuple[Strategy, Strategy] = ("segment", "favourites"),
    words: tuple[str, str] = ("A favourite in", "A favourite of the shop"),
) -> Ranked:
    """Return the best of a shop list: those of ``category`` first, then the rest.

    Args:
        source: the shop list.
        question: k, and what is excluded or allowed.
        category: a top-level category, blank for none.
        strategies: of those of the category, and of the rest.
        words: reasons of those of the category, which follows them, and of the rest.
    """
    codes, scores, num_liked = source.top(question.ask, category=category)
    num_others = len(codes) - num_liked
    reasons = [f"{words[0]} {category}"] * num_liked + [words[1]] * num_others
    return Ranked(
        codes=codes,
        scores=scores,
        strategies=[strategies[0]] * num_liked + [strategies[1]] * num_others,
        strategy=strategies[0] if num_liked else strategies[1],
        reasons=reasons if question.explain else (),
    )


def _of_group(question: Question, group: Group) -> Ranked:
    ask = question.ask
    keep = ~np.isin(group.item, ask.excluded)
    if ask.allowed is not None:
        keep &= np.isin(group.item, ask.allowed)
    rows = np.flatnonzero(keep)[: ask.k]
    strategy: Strategy = "segment" if group.category else "stage"
    reasons = [f"Liked by {group.words}"] * len(rows) if question.explain else []
    return Ranked.by(strategy, group.item[rows], group.score[rows], reasons)
