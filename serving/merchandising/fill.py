"""What fills a list that is short: the shop's favourites, then whatever is newest."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import msgspec
import numpy as np

from serving.api.schemas import Surface
from serving.release.state import ReleaseState
from serving.surfaces import cold
from serving.surfaces.question import Question, Ranked

# The others promise something that a favourite does not keep: a step up in price, bought before, new.
FILLED: Final[frozenset[Surface]] = frozenset({"for_you", "similar", "bought_together", "trending"})


def fallback(state: ReleaseState, question: Question, *, num: int) -> Ranked:
    """Return up to ``num`` items that the question allows, best first: favourites of the customer's category, the shop's, the newest.

    Args:
        state: the release.
        question: what is excluded or allowed.
        num: how many.
    """
    wide = replace(question, request=msgspec.structs.replace(question.request, k=num))
    excluded = np.union1d(wide.ask.excluded, [] if question.item is None else [question.item]).astype(np.int64)
    category, _ = cold.labels_of(state, wide)
    found = cold.favourites(state.favourites, wide, category=category)
    found = _without(found, excluded)
    return found if len(found) >= num else found.then(_newest(state, wide, excluded), k=num)


def _without(ranked: Ranked, excluded: np.ndarray) -> Ranked:
    rows = np.flatnonzero(~np.isin(ranked.codes, excluded)).tolist()
    return Ranked(
        codes=ranked.codes[rows],
        scores=ranked.scores[rows],
        strategies=[ranked.strategies[row] for row in rows],
        strategy="favourites",
        reasons=[ranked.reasons[row] for row in rows] if ranked.reasons else (),
    )


def _newest(state: ReleaseState, question: Question, excluded: np.ndarray) -> Ranked:
    created = state.catalog.created_at_us
    codes = np.flatnonzero(state.index.shows(np.arange(len(created)))) if question.allowed is None else question.allowed
    codes = codes[state.index.shows(codes) & ~np.isin(codes, excluded)]
    codes = codes[np.lexsort((codes, -created[codes]))][: question.request.k]
    reasons = ["New in the shop"] * len(codes) if question.explain else ()
    return Ranked.by("new_arrivals", codes, np.zeros(len(codes), np.float32), reasons)
