"""From a ranked list to the order in which it is shown.

    removals     out of stock, bans, filters: gone, whatever else is said of them
    moves        place i of m is i / m, less what boosts add up to: an item with by 0.2 passes a fifth of the list
    diversity    of the first places
    pins, caps   pins take their places; the others follow in order, those of a full group later or not at all
    exploration  places that no pin holds are drawn

Scores stay the surface's own, whatever the order becomes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from features.surfaces import DAY_US
from serving.api.schemas import RuleTouch
from serving.merchandising.diversity import mmr_order
from serving.merchandising.plan import Limit, Place, Plan
from serving.merchandising.rules import Boost, Freshness
from serving.surfaces.question import Ranked

Ints = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float64]
Vectors = npt.NDArray[np.float32]
FALLBACK: Final = "fallback"
_EVERYWHERE: Final = 1 << 30
# Diversity chooses among so many items, or twice the places that it gives.
_SPREAD: Final = 200


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool:
    """What may stand in a list, best first, after moves and diversity.

    Args:
        ranked: as the surface ranked it, less what was removed.
        order: rows of ``ranked``, best first.
        moved: whether diversity gave a row another place, by row.
    """

    ranked: Ranked
    order: Ints
    moved: npt.NDArray[np.bool_]


def kept(ranked: Ranked, plan: Plan) -> Ranked:
    """Return a list without what may not be shown."""
    if plan.shown is None or not len(ranked):
        return ranked
    keep = plan.shown.mask[ranked.codes]
    return ranked if keep.all() else taken(ranked, np.flatnonzero(keep).tolist())


def first(ranked: Ranked, k: int) -> Ranked:
    """Return the first places of a list."""
    if len(ranked) <= k:
        return ranked
    return Ranked(
        codes=ranked.codes[:k],
        scores=ranked.scores[:k],
        strategies=ranked.strategies[:k],
        strategy=ranked.strategy,
        reasons=ranked.reasons[:k],
    )


def taken(ranked: Ranked, rows: Sequence[int]) -> Ranked:
    """Return some rows of a list, in their order."""
    return Ranked(
        codes=ranked.codes[rows],
        scores=ranked.scores[rows],
        strategies=[ranked.strategies[row] for row in rows],
        strategy=ranked.strategies[rows[0]] if len(rows) else ranked.strategy,
        reasons=[ranked.reasons[row] for row in rows] if ranked.reasons else (),
    )


def pooled(ranked: Ranked, plan: Plan, *, vectors: Vectors, created_us: Ints, now_us: int) -> Pool:
    """Return a list in the order that moves and diversity give it.

    Args:
        ranked: without what may not be shown.
        plan: what holds.
        vectors: of the items, float32 ``[V, d]``, unit length.
        created_us: of the items, int64 ``[V]``, 0 where unknown.
        now_us: the instant that ages count to.
    """
    m = len(ranked)
    order: Ints = np.arange(m)
    if plan.moves and m:
        shift = plan.boosts[ranked.codes]
        for freshness in plan.fresh:
            shift += _freshness(freshness, ranked.codes, created_us, now_us)
        order = np.argsort(order / m - shift, kind="stable")
    moved = np.zeros(m, bool)
    if plan.diversity and m > 1:
        num = 2 * plan.k if plan.limits or plan.explore else plan.k
        near = order[: max(_SPREAD, 2 * num)]
        chosen = mmr_order(vectors[ranked.codes[near]], strength=plan.diversity, num=num)
        spread = np.concatenate([near[chosen], order[len(near) :]])
        moved[spread[spread != order]] = True
        order = spread
    return Pool(ranked=ranked, order=order, moved=moved)


def _freshness(effect: Freshness, codes: Ints, created_us: Ints, now_us: int) -> Floats:
    """Return which share of the list each item passes for being new, float64 ``[m]``."""
    created = created_us[codes]
    age_days = np.maximum(now_us - created, 0) / DAY_US
    fresh: Floats = np.where(created > 0, effect.by * np.exp2(-age_days / effect.half_life_days), 0.0)
    return fresh


def pins_in_force(
    plan: Plan, *, barred: frozenset[int], available: npt.NDArray[np.bool_], allowed: Ints | None = None
) -> dict[int, Place]:
    """Return pins by place; one whose place is taken gets the next free one, and an item is pinned once.

    Args:
        plan: what holds.
        barred: codes that the question rules out.
        available: what may be shown at all, by code.
        allowed: codes that the request's filters leave; all where ``None``.
    """
    if not plan.pins:
        return {}
    held: dict[int, Place] = {}
    for pin in plan.pins:
        shown = available[pin.code] and (plan.shown is None or plan.shown.mask[pin.code])
        shown = shown and (allowed is None or pin.code in allowed)
        if not shown or pin.code in barred or any(one.code == pin.code for one in held.values()):
            continue
        place = pin.place
        while place in held:
            place += 1
        held[place] = replace(pin, place=place)
    return held


def placed(codes: Sequence[int], pins: dict[int, Place], limits: Sequence[Limit], *, k: int) -> list[int]:
    """Return which candidate stands at each place: its row, or ``-1 - code`` for a pinned item.

    Where no candidate may take a place, the next pinned item moves up to it; the list ends where there is none.

    Args:
        codes: of the candidates, best first, none of a pinned item.
        pins: by place.
        limits: caps; a pinned item counts.
        k: places.
    """
    if not pins and not limits:
        return list(range(min(len(codes), k)))
    queue = _Queue(codes, limits, pins.values(), k=k)
    later = sorted(pins, reverse=True)  # the next one last
    found: list[int] = []
    for place in range(k):
        if later and later[-1] == place:
            found.append(-1 - pins[later.pop()].code)
        elif (row := queue.take(place)) is not None:
            found.append(row)
        elif later:
            pin = pins[later.pop()]
            queue.move(pin, place)
            found.append(-1 - pin.code)
        else:
            break
    return found


class _Queue:
    """Candidates in order; one whose group is full waits until the cap no longer counts, and then comes first.

    A group never gets room again, so that each candidate is looked at once for each cap that ends before the list does.

    Args:
        codes: of the candidates.
        limits: caps.
        pins: they count.
        k: places.
    """

    def __init__(self, codes: Sequence[int], limits: Sequence[Limit], pins: Collection[Place], *, k: int) -> None:
        self._limits = limits
        self._groups = [limit.groups[np.asarray(codes, np.int64)].tolist() for limit in limits]
        self._firsts = [limit.first or _EVERYWHERE for limit in limits]
        self._mosts = [limit.most for limit in limits]
        self._held: list[dict[int, int]] = [{} for _ in limits]
        self._k = k
        for limit, held, first in zip(limits, self._held, self._firsts, strict=True):
            for group in (int(limit.groups[pin.code]) for pin in pins if pin.place < min(first, k)):
                held[group] = held.get(group, 0) + 1
        self._rows = list(range(len(codes)))[::-1]  # the next one last
        self._waiting: list[tuple[int, int]] = []  # until which place, row
        self._next_wake = _EVERYWHERE

    def take(self, place: int) -> int | None:
        """Return the next candidate that may stand at a place; places are asked for in order."""
        if place >= self._next_wake:
            self._wake(place)
        while self._rows:
            row = self._rows.pop()
            until = self._blocked_until(row, place)
            if until <= place:
                self._count(row, place)
                return row
            self._waiting.append((until, row))
            self._next_wake = min(self._next_wake, until)
        return None

    def move(self, pin: Place, place: int) -> None:
        """Count a pinned item that has moved up to a place."""
        for limit, first, held in zip(self._limits, self._firsts, self._held, strict=True):
            if place < first and pin.place >= min(first, self._k):
                group = int(limit.groups[pin.code])
                held[group] = held.get(group, 0) + 1

    def _blocked_until(self, row: int, place: int) -> int:
        until = 0
        for groups, first, most, held in zip(self._groups, self._firsts, self._mosts, self._held, strict=True):
            group = groups[row]
            if group >= 0 and place < first and held.get(group, 0) >= most:
                until = max(until, first)
        return until

    def _count(self, row: int, place: int) -> None:
        for groups, first, held in zip(self._groups, self._firsts, self._held, strict=True):
            group = groups[row]
            if group >= 0 and place < first:
                held[group] = held.get(group, 0) + 1

    def _wake(self, place: int) -> None:
        woken = sorted(row for until, row in self._waiting if until <= place)
        self._waiting = [one for one in self._waiting if one[0] > place]
        self._next_wake = min((until for until, _ in self._waiting), default=_EVERYWHERE)
        self._rows += woken[::-1]


def touches_of(pool: Pool, plan: Plan, row: int, place: int) -> list[RuleTouch]:
    """Return the rules that had a part in where a row stands.

    Args:
        pool: candidates.
        plan: what holds.
        row: of ``pool.ranked``.
        place: that it got.
    """
    code = pool.ranked.codes[row]
    found = [
        RuleTouch(rule=move.rule.name, effect=_word(move.rule.effect))
        for move in plan.moves
        if move.items is None or move.items[code]
    ]
    if pool.moved[row]:
        found.append(RuleTouch(rule=plan.diversity_by, effect="diversity"))
    if plan.explore:
        return [*found, RuleTouch(rule=plan.explored_by, effect="explore")]
    free = int(np.flatnonzero(pool.order == row)[0])
    if plan.limits and place > free + len(plan.pins):
        found += [RuleTouch(rule=limit.rule, effect="cap") for limit in plan.limits if limit.groups[code] >= 0]
    return found


def _word(effect: object) -> Literal["boost", "bury", "freshness"]:
    if isinstance(effect, Freshness):
        return "freshness"
    return "boost" if isinstance(effect, Boost) and effect.by >= 0 else "bury"
