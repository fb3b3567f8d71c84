"""From what a surface ranked to the list that is shown: arranged by a plan, drawn, filled, explained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from serving.api.schemas import RuleTouch, Strategy
from serving.merchandising.arrange import FALLBACK, Pool, first, kept, pins_in_force, placed, pooled, taken, touches_of
from serving.merchandising.because import because_of
from serving.merchandising.fill import FILLED, fallback
from serving.merchandising.plan import Place, Plan
from serving.release.state import ReleaseState
from serving.surfaces.question import Drawn, Ints, Question, Ranked

Flags = npt.NDArray[np.bool_]
_NOT_DRAWN: Final = -1
_DEEPER: Final = 4


class Finisher:
    """Makes lists.

    Args:
        state: the release.
        available: what may be shown at all, bool by code.
        rng: draws where places are drawn.
    """

    def __init__(self, state: ReleaseState, *, available: Flags, rng: np.random.Generator) -> None:
        self._state, self._available, self._rng = state, available, rng

    def plain(self, question: Question, ranked: Ranked) -> Ranked:
        """Return a list that no rule touches, filled where it is short."""
        request = question.request
        if len(ranked) < request.k and request.surface in FILLED:
            ranked = self._filled(question, Plan(k=request.k), ranked)
        return self._explained(question, ranked) if request.explain else ranked

    def arranged(
        self, question: Question, plan: Plan, ranked: Ranked, *, left_out: Ints, deeper: Iterator[Ranked]
    ) -> Ranked:
        """Return a list as a plan wants it.

        Args:
            question: as it was asked.
            plan: what holds.
            ranked: by the surface, as deep as the plan needs.
            left_out: codes that were seen or bought too lately.
            deeper: the same, each ranked deeper, as long as there is more.
        """
        barred = _barred(question, left_out)
        found, is_whole = self._made(question, plan, _without(kept(ranked, plan), left_out), barred)
        while not is_whole and (more := next(deeper, None)) is not None:
            found, is_whole = self._made(question, plan, _without(kept(more, plan), left_out), barred)
        if len(found) < plan.k and question.request.surface in FILLED:
            found = self._filled(replace(question, left_out=left_out), plan, found)
        return self._explained(question, found) if question.explain else found

    def _made(self, question: Question, plan: Plan, ranked: Ranked, barred: frozenset[int]) -> tuple[Ranked, bool]:
        """Return a list, and whether a deeper ranking would add nothing to it."""
        state = self._state
        pins = pins_in_force(plan, barred=barred, available=self._available, allowed=question.allowed)
        if not pins and not plan.reorders:
            return first(ranked, plan.k), len(ranked) >= plan.most
        own = {pin.code for pin in pins.values()}
        if own:
            keep = [row for row, code in enumerate(ranked.codes.tolist()) if code not in own]
            ranked, pinned = taken(ranked, keep), ranked
        else:
            pinned = ranked
        pool = pooled(
            ranked, plan, vectors=state.index.vectors, created_us=state.catalog.created_at_us, now_us=question.now_us
        )  # fmt: skip
        if plan.explore is not None:
            found = self._drawn(plan, pool, pinned, pins, explain=question.explain)
            return found, len(found) >= plan.most
        rows = placed(ranked.codes[pool.order].tolist(), pins, plan.limits, k=plan.k)
        found = self._listed(plan, pool, pinned, pins, [row if row < 0 else int(pool.order[row]) for row in rows],
                             explain=question.explain)  # fmt: skip
        return found, len(found) >= plan.most and not _moved_up(rows, pins)

    def _drawn(self, plan: Plan, pool: Pool, pinned: Ranked, pins: dict[int, Place], *, explain: bool) -> Ranked:
        """Return a list whose places, those of pins aside, are drawn from the first candidates, which keep to the caps."""
        assert plan.explore is not None, "called where it is set"
        num = plan.explore.size(len(pool.order), plan.k)
        order = pool.order
        if plan.limits:
            everywhere = [replace(limit, first=0) for limit in plan.limits]
            eligible = placed(pool.ranked.codes[order].tolist(), pins, everywhere, k=len(order) + len(pins))
            order = order[[row for row in eligible if row >= 0]]
            num = min(num, len(order))
        free = [place for place in range(plan.k) if place not in pins]
        ranks = plan.explore.draw(num, places=len(free), rng=self._rng) if num else np.zeros(0, np.int64)
        num_free = len(ranks)
        rows = _placed([*order[ranks].tolist(), *order[num:].tolist()], pins, plan.k)
        found = self._listed(plan, pool, pinned, pins, rows, explain=explain)
        at = np.cumsum([row >= 0 for row in rows]) - 1
        is_drawn = np.array([row >= 0 for row in rows], bool) & (at < num_free)
        drawn = Drawn(
            num=num,
            ranks=np.where(is_drawn, ranks[np.minimum(at, len(ranks) - 1)] if len(ranks) else _NOT_DRAWN, _NOT_DRAWN),
            places=np.where(is_drawn, at, _NOT_DRAWN),
        )
        return replace(found, drawn=drawn)

    def _listed(self, plan: Plan, pool: Pool, pinned: Ranked, pins: dict[int, Place], rows: list[int],
                *, explain: bool) -> Ranked:  # fmt: skip
        """Return a list by rows of the pool, ``-1 - code`` for a pinned item."""
        ranked = pool.ranked
        found = _with_pins(ranked, pinned, rows) if pins else taken(ranked, rows)
        if not explain:
            return found
        by_code = {pin.code: pin.rule for pin in pins.values()}
        touches = [
            (RuleTouch(rule=by_code[-1 - row], effect="pin"),) if row < 0 else tuple(touches_of(pool, plan, row, place))
            for place, row in enumerate(rows)
        ]
        return replace(found, touches=touches)

    def _filled(self, question: Question, plan: Plan, found: Ranked) -> Ranked:
        """Return a list with fallbacks behind it that the plan lets through."""
        if plan.shown is not None:
            allowed = question.allowed
            shown = plan.shown.codes if allowed is None else allowed[plan.shown.mask[allowed]]
            question = replace(question, allowed=shown)
        num, rows, more = plan.k + len(found) + 4 * plan.k * bool(plan.limits), list[int](), found
        while len(found) + len(rows) < plan.most:
            ranked = fallback(self._state, question, num=num)
            more = taken(ranked, np.flatnonzero(~np.isin(ranked.codes, found.codes)).tolist())
            rows = _behind(found.codes, more.codes.tolist(), plan)
            if len(ranked) < num:
                break
            num *= _DEEPER
        if not rows:
            return found
        filled = found.then(taken(more, rows), k=plan.k)
        touch = (RuleTouch(rule=FALLBACK, effect="fill"),)
        touches = [*found.touches, *[touch] * (len(filled) - len(found))] if question.explain else ()
        if question.explain and not found.touches:
            touches = [()] * len(found) + [touch] * (len(filled) - len(found))
        return replace(
            filled, filled=len(filled) - len(found), touches=touches, drawn=_longer(found.drawn, len(filled))
        )

    def _explained(self, question: Question, found: Ranked) -> Ranked:
        return replace(found, because=because_of(self._state, question, found))


def _moved_up(rows: list[int], pins: dict[int, Place]) -> bool:
    """Whether a pinned item stands where no candidate was left to stand."""
    return any(row < 0 and (place not in pins or pins[place].code != -1 - row) for place, row in enumerate(rows))


def _barred(question: Question, left_out: Ints) -> frozenset[int]:
    """Return codes that no pin may bring back."""
    own = () if question.item is None else (question.item,)
    return frozenset([*question.ask.excluded.tolist(), *left_out.tolist(), *own])


def _without(ranked: Ranked, left_out: Ints) -> Ranked:
    if not len(left_out):
        return ranked
    return taken(ranked, np.flatnonzero(~np.isin(ranked.codes, left_out)).tolist())


def _placed(rows: list[int], pins: dict[int, Place], k: int) -> list[int]:
    order = placed(rows, pins, (), k=k)
    return [row if row < 0 else rows[row] for row in order]


def _with_pins(ranked: Ranked, pinned: Ranked, rows: list[int]) -> Ranked:
    """Return a list with pinned items, which keep the score that the surface gave them, else have the lowest of all.

    Args:
        ranked: what is not pinned.
        pinned: the same with what is, as the surface ranked it.
        rows: of ``ranked``, ``-1 - code`` for a pinned item.
    """
    codes, scores = ranked.codes.tolist(), ranked.scores.tolist()
    lowest = float(pinned.scores.min()) if len(pinned) else 0.0
    found: list[tuple[int, float, Strategy, str]] = []
    for row in rows:
        source, at, code = ranked, row, -1 - row if row < 0 else codes[row]
        if row < 0:
            places = np.flatnonzero(pinned.codes == code)
            source, at = pinned, int(places[0]) if len(places) else -1
        if at < 0:
            found.append((code, lowest, "pinned", "Chosen by the shop"))
        else:
            score = scores[at] if row >= 0 else float(source.scores[at])
            found.append((code, score, source.strategies[at], source.reasons[at] if source.reasons else ""))
    strategies = [one[2] for one in found]
    return Ranked(
        codes=np.array([one[0] for one in found], np.int64),
        scores=np.array([one[1] for one in found], np.float32),
        strategies=strategies,
        strategy=strategies[0] if strategies else ranked.strategy,
        reasons=[one[3] for one in found] if pinned.reasons else (),
    )


def _behind(codes: Ints, more: list[int], plan: Plan) -> list[int]:
    """Return which fallbacks may follow a list, by the caps."""
    if not plan.limits:
        return list(range(len(more)))
    held = {place: Place(place=place, code=code, rule="") for place, code in enumerate(codes.tolist())}
    return [row for row in placed(more, held, plan.limits, k=plan.k) if row >= 0]


def _longer(drawn: Drawn | None, size: int) -> Drawn | None:
    if drawn is None:
        return None
    more = np.full(size - len(drawn.ranks), _NOT_DRAWN)
    return Drawn(num=drawn.num, ranks=np.concatenate([drawn.ranks, more]), places=np.concatenate([drawn.places, more]))
