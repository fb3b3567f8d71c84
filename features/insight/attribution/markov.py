"""Markov removal effects: what would be lost if journeys that reach a touch ended there.

Journeys are read as a chain of states: start, the last ``order`` touches, and at the end converted or not. Its
probabilities are counted from all paths, those that did not convert included. Removing a touch sends whatever would
enter it to "not converted"::

    a > b > converted      start -> a 1/2, start -> b 1/2     P(converted)               = 1/2 * 1/2 + 1/2 * 1/2 = 1/2
    a > not converted      a -> b 1/2, a -> not 1/2           P without a                = 1/2 * 1/2 = 1/4
    b > not converted      b -> converted 1/2 ...             removal effect of a        = 1 - 1/4 / 1/2 = 1/2
    b > converted                                             removal effect of b        = 1 - 0 / 1/2   = 1

Removal effects add up to more than one; they are normalised to the total of conversions. Revenue has effects of its own,
with each end of a path worth what its conversions brought.

Source: Anderl, Becker, von Wangenheim, Schumann 2016, "Mapping the customer journey".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from features.errors import ConfigError
from features.insight.attribution.counts import Floats, Ints, JourneyCounts

MOST_STATES: Final = 3000


@dataclass(frozen=True, kw_only=True, eq=False)
class Chain:
    """The distinct transitions of a chain of ``N`` states, of which state 0 is the start.

    Args:
        num_touches: C.
        touch: that a state was entered by, ``[N]``; -1 for the start.
        source, target: of the ``T`` transitions between states.
    """

    num_touches: int
    touch: Ints
    source: Ints
    target: Ints

    @property
    def num_states(self) -> int:
        """N."""
        return len(self.touch)

    @classmethod
    def of_counts(cls, counts: JourneyCounts, *, order: int) -> tuple[Chain, Floats]:
        """Return the chain of all paths, and how often each group of users went which way.

        Args:
            counts: the journeys.
            order: touches that a state remembers, at least 1.

        Returns:
            the chain, and ``[G, T + 2 N]``: journeys over each transition, then conversions and revenue by last state.

        Raises:
            ConfigError: more runs of touches than a chain can be solved for.
        """
        state, touch = _states(counts, order)
        num_states, row = len(touch), counts.row
        if num_states > MOST_STATES:
            raise ConfigError(
                f"markov_order: expected up to {MOST_STATES} runs of {order} touches in the log, found {num_states}; "
                "choose a lower order or a coarser column."
            )
        source = np.concatenate([[0], state[:-1]])
        source[counts.offsets[:-1]] = 0
        pair, index = np.unique(source * num_states + state, return_inverse=True)
        moved = _by_group(counts.group[row], index, counts.journeys[row], counts.num_groups, len(pair))
        ended = state[counts.offsets[1:] - 1]
        ends = [
            _by_group(counts.group, ended, worth, counts.num_groups, num_states)
            for worth in (counts.conversions, counts.revenue)
        ]
        chain = cls(
            num_touches=counts.num_touches,
            touch=touch,
            source=pair // num_states,
            target=pair % num_states,
        )
        return chain, np.concatenate([moved, *ends], axis=1)

    def credits(self, observed: Floats) -> Floats:
        """Return conversions and revenue by touch, ``[C, 2]``, which sum to the totals.

        Args:
            observed: a row of what ``of_counts`` returns, or a weighted sum of its rows.
        """
        effects = self.removal_effects(observed)
        sums = effects.sum(axis=0)
        shares = np.divide(effects, sums, out=np.zeros_like(effects), where=sums > 0)
        ends = observed[len(self.source) :].reshape(2, self.num_states)
        return shares * ends.sum(axis=1)

    def removal_effects(self, observed: Floats) -> Floats:
        """Return the share of conversions and of revenue that removing each touch would lose, ``[C, 2]``.

        What is lost is what journeys are worth from the moment on at which they first reach the touch. With
        ``visits = (1 - moves)^-1`` (how often a state is passed on the way from another), first arrivals at the touch's
        states A are ``visits[start, A] visits[A, A]^-1``: one inverse serves all touches.
        """
        moves, ends = self._probabilities(observed)
        visits = np.linalg.inv(np.eye(self.num_states) - moves)
        value = visits @ ends  # [N, 2]
        lost = np.zeros((self.num_touches, 2))
        for touch in np.unique(self.touch[1:]):
            own = np.flatnonzero(self.touch == touch)
            arrivals = np.linalg.solve(visits[np.ix_(own, own)].T, visits[0, own])
            lost[touch] = arrivals @ value[own]
        return np.divide(lost, value[0], out=np.zeros_like(lost), where=value[0] > 0)

    def _probabilities(self, observed: Floats) -> tuple[Floats, Floats]:
        """Return P(next state) ``[N, N]``, and conversions and revenue by ending in a state, ``[N, 2]``."""
        moved = observed[: len(self.source)]
        ends = observed[len(self.source) :].reshape(2, self.num_states).T
        left = np.bincount(self.target, weights=moved, minlength=self.num_states)
        left[0] = moved[
            self.source == 0
        ].sum()  # every journey begins once, every other state is left as often as entered
        left = np.where(left > 0, left, 1.0)
        moves = np.zeros((self.num_states, self.num_states))
        moves[self.source, self.target] = moved / left[self.source]
        return moves, ends / left[:, None]


def _states(counts: JourneyCounts, order: int) -> tuple[Ints, Ints]:
    """Return the state that each step leads to, ``[S]``, and the touch of each state, the start first."""
    base = counts.num_touches + 1
    place = np.arange(len(counts.step)) - counts.offsets[counts.row]
    key = np.zeros(len(counts.step), np.int64)
    for back in range(order):
        earlier = np.concatenate([np.zeros(back, np.int64), counts.step[: len(counts.step) - back]])
        key += np.where(place >= back, earlier + 1, 0) * base**back
    found, state = np.unique(key, return_inverse=True)
    return state + 1, np.concatenate([[-1], found % base - 1])


def _by_group(group: Ints, column: Ints, weight: Floats, num_groups: int, num_columns: int) -> Floats:
    cells = np.bincount(group * num_columns + column, weights=weight, minlength=num_groups * num_columns)
    return cells.reshape(num_groups, num_columns).astype(np.float64)
