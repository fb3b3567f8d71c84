"""What is new, nearest to the user first."""

from __future__ import annotations

import numpy as np

from features.vocabulary import FIRST
from serving.release.state import ReleaseState
from serving.surfaces.question import NO_ITEMS, NO_SCORES, Floats, Question, Ranked
from serving.surfaces.words import day_of


def new_arrivals(state: ReleaseState, question: Question, user_vec: Floats | None) -> Ranked:
    """Return new items by closeness to the user; the newest first for someone without events.

    What is new is counted back from where the release's data end: later the catalogue is not known.
    """
    catalog, as_of_us = state.catalog, state.surfaces.as_of_us
    new = state.surfaces.items.new_arrivals(as_of_us)
    new = new[new >= FIRST]
    if not len(new):
        return Ranked.by("new_arrivals", NO_ITEMS, NO_SCORES)
    ask = question.asking(allowed=new)
    if user_vec is not None:
        codes, scores = state.index.search_exactly(user_vec, ask)
    else:
        assert ask.allowed is not None, "only new items are asked for"
        left = ask.allowed[~np.isin(ask.allowed, ask.excluded)]
        codes = left[np.lexsort((left, -catalog.created_at_us[left]))][: ask.k]
        scores = _newness(catalog.created_at_us[codes], as_of_us)
    reasons = [f"New since {day_of(int(at), beside_us=as_of_us)}" for at in catalog.created_at_us[codes]]
    return Ranked.by("new_arrivals", codes, scores, reasons if question.explain else ())


def _newness(created_us: np.ndarray, as_of_us: int) -> Floats:
    """1 for what came with the last of the data, less for what came before: 1 / (1 + days)."""
    days = (as_of_us - created_us) / 86_400_000_000
    return (1 / (1 + days)).astype(np.float32)
