"""Shapley values: each touch's fair share of what a set of touches brings together.

Only which touches a journey had counts, neither their order nor their number. A game says what a coalition S of touches
brings:

    conversions   those of the journeys whose touches all lie in S
    rate          those of all journeys, had they kept of their touches only those in S: each then converts as often as
                  journeys did that had exactly these touches, and never where there were none such

Either is a sum of small games, one for each set of touches T that journeys had, so that a touch's value is the sum of its
values in these. In the game of ``conversions`` every touch of T gets the same; in that of ``rate`` a value is worked out
over the subsets of T, exactly up to 12 touches, from permutations beyond. Both sum to all conversions.

    journeys    a: 100, 10 convert    b: 100, 30 convert    a and b: 100, 60 convert
    rate        a in T = {a, b}: 1/2 (.1 - 0) + 1/2 (.6 - .3) = .2, so 10 + 100 * .2 = 30 of 100 conversions; b: 30 + 40

Source: Shapley 1953; ``rate``: Dalessandro, Perlich, Stitelman, Provost 2012, "Causally motivated attribution for online
advertising"; ``conversions``: Zhao, Mahboobi, Bagheri 2018, "Shapley value methods for attribution modeling".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from features.insight.attribution.counts import Floats, Ints, JourneyCounts
from features.insight.attribution.definition import Coalitions
from features.insight.attribution.games import Weights

_BITS = 63  # touches up to which a set's key is its bits; beyond that, keys are sums of random numbers


@dataclass(frozen=True, kw_only=True, eq=False)
class Sets:
    """The ``F`` distinct sets of touches that journeys had, and how each is shared among its members.

    What touch ``member[k]`` has of the journeys of set ``whole[k]`` includes ``weight[k]`` of the rate of set
    ``part[k]``, one of its subsets.

    Args:
        size: how many touches each set has, ``[F]``.
        num_touches: C.
        whole, part, member, weight, draw: of the ``K`` terms; draw is -1 where nothing was sampled.
    """

    size: Ints
    num_touches: int
    whole: Ints
    part: Ints
    member: Ints
    weight: Floats
    draw: Ints

    @classmethod
    def of_counts(cls, counts: JourneyCounts, *, game: Coalitions) -> tuple[Sets, Floats]:
        """Return the sets, and each group's journeys, conversions and revenue of each, ``[G, 3 F]``.

        Args:
            counts: the journeys.
            game: what a coalition is asked for.
        """
        number, members = _distinct_sets(counts)
        size = (counts.num_groups, len(members))
        cell = counts.group * len(members) + number
        parts = [
            np.bincount(cell, weights=worth, minlength=size[0] * size[1]).reshape(size)
            for worth in (counts.journeys, counts.conversions, counts.revenue)
        ]
        terms = _equal_terms(members) if game == "conversions" else _rate_terms(members, counts.num_touches)
        sizes = np.array([len(touches) for touches in members])
        return cls(size=sizes, num_touches=counts.num_touches, **terms), np.concatenate(parts, axis=1)

    def credits(self, observed: Floats) -> Floats:
        """Return conversions and revenue by touch, ``[C, 2]``.

        Args:
            observed: a row of what ``of_counts`` returns, or a weighted sum of its rows.
        """
        return np.stack(
            [np.bincount(self.member, weights=terms, minlength=self.num_touches) for terms in self._terms(observed)],
            axis=1,
        )

    def standard_errors(self, observed: Floats) -> Floats:
        """Return the standard errors of what was sampled, ``[C, 2]``: 0 where no journey had more than 12 touches."""
        variance = np.zeros((self.num_touches, 2))
        drawn = self.draw >= 0
        for column, terms in enumerate(self._terms(observed)):
            for whole in np.unique(self.whole[drawn]):
                own = np.flatnonzero(drawn & (self.whole == whole))
                num_draws = self.draw[own].max() + 1
                cell = self.draw[own] * self.num_touches + self.member[own]
                each = np.bincount(cell, weights=terms[own] * num_draws, minlength=num_draws * self.num_touches)
                variance[:, column] += each.reshape(num_draws, -1).var(axis=0, ddof=1) / num_draws
        return np.sqrt(variance)

    def _terms(self, observed: Floats) -> Floats:
        """Return conversions and revenue of each term, ``[2, K]``."""
        journeys, *brought = observed.reshape(3, len(self.size))
        rates = [np.divide(worth, journeys, out=np.zeros_like(worth), where=journeys > 0) for worth in brought]
        return np.stack([journeys[self.whole] * self.weight * rate[self.part] for rate in rates])


def _distinct_sets(counts: JourneyCounts) -> tuple[Ints, list[Ints]]:
    """Return the number of each row's set, ``[P]``, and the members of each set."""
    once = np.unique(counts.row * counts.num_touches + counts.step)  # each touch once a path
    row, touch = once // counts.num_touches, once % counts.num_touches
    starts = np.flatnonzero(np.diff(row, prepend=-1))
    keys = np.add.reduceat(_keys(counts.num_touches)[touch], starts)
    _, first, number = np.unique(keys, return_index=True, return_inverse=True)
    paths = np.split(touch, starts[1:])
    return number, [paths[place] for place in first]


def _keys(num_touches: int) -> npt.NDArray[np.uint64]:
    """Return a number for each touch such that sums of different sets differ (beyond 63 touches, all but surely)."""
    if num_touches <= _BITS:
        return np.uint64(1) << np.arange(num_touches, dtype=np.uint64)
    return np.random.default_rng(num_touches).integers(0, 2**64, num_touches, dtype=np.uint64)


def _equal_terms(members: list[Ints]) -> dict[str, Any]:
    """Return the terms of the game of conversions: each member has the same of its own set alone."""
    sizes = np.array([len(touches) for touches in members])
    whole = np.repeat(np.arange(len(members)), sizes)
    member = np.concatenate(members)
    return {
        "whole": whole,
        "part": whole,
        "member": member,
        "weight": 1 / sizes[whole],
        "draw": np.full(len(whole), -1),
    }


def _rate_terms(members: list[Ints], num_touches: int) -> dict[str, Any]:
    """Return the terms of the game of rates: of each set's coalitions, those that are the set of some journey."""
    key = _keys(num_touches)
    known = np.array([key[touches].sum() for touches in members])  # rising: sets are in order of their keys
    blocks = []
    for whole, touches in enumerate(members):
        weights = Weights.of(len(touches), rng=np.random.default_rng(touches))
        asked = weights.inside.astype(np.uint64) @ key[touches]
        part = np.minimum(np.searchsorted(known, asked), len(known) - 1)
        row, column = np.nonzero((known[part] == asked)[:, None] & (weights.weight != 0))
        draw = weights.draw[row] if weights.num_draws else np.full(len(row), -1)
        blocks.append((np.full(len(row), whole), part[row], touches[column], weights.weight[row, column], draw))
    names = ("whole", "part", "member", "weight", "draw")
    return {name: np.concatenate(block) for name, block in zip(names, zip(*blocks, strict=True), strict=True)}
