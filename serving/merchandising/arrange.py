"""From a ranked list to the order in which it is shown.

    removals     out of stock, bans, filters: gone, whatever else is said of them
    moves        place i of m is i / m, less what boosts add up to: an item with by 0.2 passes a fifth of the list
    diversity    of the first places
    pins, caps   pins take their places; the others follow in order, those of a full group later or not at all
    exploration  places that no pin holds are drawn

Scores stay the surface's own, whatever the order becomes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from features.surfaces import DAY_US
from serving.api.schemas import RuleTouch
from serving.merchandising.compiled import CompiledRule
from serving.merchandising.diversity import mmr_order
from serving.merchandising.plan import Limit, Place, Plan
from serving.merchandising.rules import Boost, Freshness
from serving.surfaces.question import Ranked

Ints = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float64]
Vectors = npt.NDArray[np.float32]
FALLBACK: Final = "fallback"


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
        shift = np.zeros(m)
        for move in plan.moves:
            shift += _shift(move, ranked.codes, created_us, now_us)
        order = np.argsort(order / m - shift, kind="stable")
    moved = np.zeros(m, bool)
    if plan.diversity and m > 1:
        num = 2 * plan.k if plan.limits or plan.explore else plan.k
        spread = order[mmr_order(vectors[ranked.codes[order]], strength=plan.diversity, num=num)]
        moved[spread[spread != order]] = True
        order = spread
    return Pool(ranked=ranked, order=order, moved=moved)


def _shift(move: CompiledRule, codes: Ints, created_us: Ints, now_us: int) -> Floats:
    """Return which share of the list each item passes, float64 ``[m]``."""
    effect = move.rule.effect
    if isinstance(effect, Boost):
        return (
            np.full(len(codes), effect.by) if move.items is None else effect.by * move.items[codes].astype(np.float64)
        )
    assert isinstance(effect, Freshness), "nothing else moves items"
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
        held[place] = pin
    return held


def placed(codes: Sequence[int], pins: dict[int, Place], limits: Sequence[Limit], *, k: int) -> list[int]:
    """Return which candidate stands at each place: its row, or ``-1 - code`` for a pinned item.

    A list whose next place nobody may take ends there, and pins of later places follow.

    Args:
        codes: of the candidates, best first, none of a pinned item.
        pins: by place.
        limits: caps; a pinned item counts, wherever else it stands.
        k: places.
    """
    if not limits:
        return _placed_freely(len(codes), pins, k)
    groups = [limit.groups[np.asarray(codes, np.int64)].tolist() for limit in limits]
    rooms = [_Room(limit, [pin for pin in pins.values() if pin.place < k]) for limit in limits]
    waiting = list(range(len(codes)))
    found: list[int] = []
    for place in range(k):
        if place in pins:
            found.append(-1 - pins[place].code)
            continue
        at = next((at for at, row in enumerate(waiting) if _fits(rooms, groups, row, place)), None)
        if at is None:
            found += [-1 - pins[later].code for later in sorted(pins) if place < later]
            break
        row = waiting.pop(at)
        for room, of in zip(rooms, groups, strict=True):
            room.take(of[row], place)
        found.append(row)
    return found[:k]


def _placed_freely(num: int, pins: dict[int, Place], k: int) -> list[int]:
    rows = iter(range(num))
    if not pins:
        return list(range(min(num, k)))
    found: list[int] = []
    for place in range(k):
        if place in pins:
            found.append(-1 - pins[place].code)
        elif (row := next(rows, None)) is not None:
            found.append(row)
        else:
            found += [-1 - pins[later].code for later in sorted(pins) if place < later]
            break
    return found[:k]


class _Room:
    """How many more items of each group a cap lets in."""

    def __init__(self, limit: Limit, pins: Sequence[Place]) -> None:
        self._limit = limit
        self._held: dict[int, int] = {}
        for pin in pins:
            self.take(int(limit.groups[pin.code]), pin.place)

    def fits(self, group: int, place: int) -> bool:
        limit = self._limit
        if group < 0 or (limit.first and place >= limit.first):
            return True
        return self._held.get(group, 0) < limit.most

    def take(self, group: int, place: int) -> None:
        if group >= 0 and not (self._limit.first and place >= self._limit.first):
            self._held[group] = self._held.get(group, 0) + 1


def _fits(rooms: Sequence[_Room], groups: Sequence[Sequence[int]], row: int, place: int) -> bool:
    return all(room.fits(of[row], place) for room, of in zip(rooms, groups, strict=True))


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
