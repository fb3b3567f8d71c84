"""What a customer buys again, when it is due."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from features.recommendations import Recommendations
from features.repeats.repurchase import Kind
from serving.history.stored import to_sequences
from serving.release.state import ReleaseState
from serving.surfaces.question import Question, Ranked, purchase_instants
from serving.surfaces.words import bought_before


def buy_it_again(state: ReleaseState, question: Question) -> Ranked:
    """Return what the customer bought before, by how likely it is bought again now; short where that is little.

    An item that is not due yet is held back, unless the request allows repeats outright.
    """
    found = known_items(state, [question], timing=question.request.repeat != "allow", kind="bought")
    if question.ask.allowed is not None:
        found = found.where(np.isin(found.item, question.ask.allowed))
    codes, scores = found.item[: question.ask.k], found.score[: question.ask.k]
    reasons = [why(question, code) for code in codes.tolist()] if question.explain else []
    return Ranked.by("buy_it_again", codes, scores, reasons)


def known_items(state: ReleaseState, questions: Sequence[Question], *, timing: bool, kind: Kind) -> Recommendations:
    """Return what each user's history holds and may be shown, by its chance of being bought.

    Args:
        state: whose release has a repurchase model.
        questions: one a user.
        timing: whether an item that is not due is held back.
        kind: items bought before, those merely met, or all.
    """
    model = state.surfaces.repurchase
    assert model is not None, "a question that lacks its model is refused"
    history = to_sequences([question.history for question in questions])
    now_us = np.array([question.now_us for question in questions], np.int64)
    scored = model.score(history, now_us=now_us, timing=timing, kind=kind)
    return scored.where(state.index.shows(scored.item))


def why(question: Question, code: int) -> str:
    """Say how often and when an item was bought."""
    return bought_before(purchase_instants(question.history, code), question.now_us)
