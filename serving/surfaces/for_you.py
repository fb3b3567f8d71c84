"""The home page: what the two-tower finds, blended with what the customer buys again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from features.recommendations import Recommendations
from features.repeats.blend import NUM_NEW, ForYouBlend
from serving.api.schemas import Repeat, Strategy
from serving.release.state import ReleaseState
from serving.retrieval.item_index import Ask, lined_up
from serving.surfaces.buy_it_again import known_items, why
from serving.surfaces.question import Floats, Ints, Question, Ranked
from serving.surfaces.words import met_before


def for_you(state: ReleaseState, questions: Sequence[Question], user_vecs: Floats) -> list[Ranked]:
    """Answer several users at once.

    Where the release holds a blend, items that the user has met are ranked by their chance of being bought, beside the
    nearest of the others: as many as are wanted, and up to 200 where farther ones may be likelier. Without one, or where
    seen items are left out, the two-tower ranks alone.

    Args:
        state: the release.
        questions: ``[Q]``, each with events.
        user_vecs: float32 ``[Q, d]``.
    """
    blend = state.surfaces.blend
    is_blended = [blend is not None and not question.request.exclude_seen for question in questions]
    asks = [_unmet(q, q.request.k) if blended else q.ask for q, blended in zip(questions, is_blended, strict=True)]
    found = state.index.search(user_vecs, asks)
    lists = {row: found.list_of(row) for row in range(len(questions))}
    for repeat in {question.repeat for question in questions} if blend is not None else ():
        rows = [row for row, q in enumerate(questions) if is_blended[row] and q.repeat == repeat]
        if rows and blend is not None:
            chosen = [questions[row] for row in rows]
            mixed = _blended(state, blend, chosen, user_vecs[rows], found.take(rows), repeat=repeat)
            lists |= dict(zip(rows, mixed, strict=True))
    return [_ranked(state, q, *lists[row], is_blended=is_blended[row]) for row, q in enumerate(questions)]


def _unmet(question: Question, k: int) -> Ask:
    """The nearest items that the history does not hold."""
    return Ask(k=k, excluded=question.seen, allowed=question.allowed)


def _blended(
    state: ReleaseState, blend: ForYouBlend, questions: Sequence[Question], user_vecs: Floats, new: Recommendations,
    *, repeat: Repeat,
) -> list[tuple[Ints, Floats]]:  # fmt: skip
    """Return each user's list; filters apply last, since how much a user buys at all shows in what they have met."""
    timing = repeat == "discount"
    met = known_items(state, questions, timing=timing, kind="met" if repeat == "exclude" else "all")
    longest = max(question.ask.k for question in questions)
    if any(question.ask.allowed is not None for question in questions):
        longest += int(np.diff(met.offsets).max(initial=0))

    def deeper(rows: Ints) -> Recommendations:
        chosen = [row for row in rows.tolist() if questions[row].request.k < NUM_NEW]
        return _deeper(state, questions, user_vecs, new, chosen) if chosen else new

    mixed = mixed_lists(state, blend, met, new, user_vecs, k=longest, timing=timing, deeper=deeper)
    return [_passing(question, *mixed.list_of(row)) for row, question in enumerate(questions)]


def mixed_lists(
    state: ReleaseState, blend: ForYouBlend, met: Recommendations, new: Recommendations, user_vecs: Floats,
    *, k: int, timing: bool, deeper: Callable[[Ints], Recommendations],
) -> Recommendations:  # fmt: skip
    """Return each user's likeliest items of those met and the nearest of the others.

    Args:
        state: the release.
        blend: of it.
        met: what each of Q users has met, by its chance.
        new: the nearest unmet items, Q lists.
        user_vecs: float32 ``[Q, d]``.
        k: the most items of a list.
        timing: whether an item that is not due is held back.
        deeper: returns ``new`` with more items of some users, of whom farther ones may be likelier.
    """
    user = np.repeat(np.arange(met.num_lists), np.diff(met.offsets))
    cosines = np.einsum("md,md->m", user_vecs[user], state.index.vectors[met.item])
    unsure = np.flatnonzero(~blend.is_settled(new, met))
    if len(unsure):
        new = deeper(unsure)
    return blend.combine(new, met, cosines, k=k, timing=timing)


def _deeper(
    state: ReleaseState, questions: Sequence[Question], user_vecs: Floats, new: Recommendations, rows: Sequence[int]
) -> Recommendations:
    """Return the new items with more of them in some rows, where farther ones may be likelier."""
    found = state.index.search(user_vecs[rows], [_unmet(questions[row], NUM_NEW) for row in rows])
    more = dict(zip(rows, map(found.list_of, range(len(rows))), strict=True))
    return lined_up([more[row] if row in more else new.list_of(row) for row in range(new.num_lists)])


def _passing(question: Question, codes: Ints, scores: Floats) -> tuple[Ints, Floats]:
    if question.ask.allowed is not None:
        keep = np.isin(codes, question.ask.allowed)
        codes, scores = codes[keep], scores[keep]
    return codes[: question.ask.k], scores[: question.ask.k]


def _ranked(state: ReleaseState, question: Question, codes: Ints, scores: Floats, *, is_blended: bool) -> Ranked:
    strategy: Strategy = "history" if question.has_stored else "session"
    if not is_blended and not question.explain:
        return Ranked.by(strategy, codes, scores)
    bought = set(question.bought.tolist()) if is_blended else set()
    again = [code in bought for code in codes.tolist()]
    strategies: list[Strategy] = ["buy_it_again" if one else strategy for one in again]
    reasons = _because(state, question, codes, again) if question.explain else []
    return Ranked(codes=codes, scores=scores, strategies=strategies, strategy=strategy, reasons=reasons)


def _because(state: ReleaseState, question: Question, codes: Ints, again: Sequence[bool]) -> list[str]:
    """Say when an item was bought or met before, and name for each other the nearest item of the history."""
    seen = np.unique(question.events.item)
    nearness = state.index.vectors[codes] @ state.index.vectors[seen].T  # [k, S]
    nearest = seen[nearness.argmax(axis=1)]  # [k]
    return [
        why(question, int(code))
        if bought
        else _met(question, int(code))
        if code == near
        else f"Close to {state.name(near)}"
        for code, near, bought in zip(codes, nearest, again, strict=True)
    ]


def _met(question: Question, code: int) -> str:
    events = question.events
    last = np.flatnonzero(events.item == code)[-1]
    return met_before(int(events.event_type[last]), int(events.ts[last]), question.now_us)
