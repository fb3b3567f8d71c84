"""Shapley values of any game, as weights of coalitions: exact from all of them, or from permutations.

A player's value is a weighted sum of what coalitions bring, so the weights are worked out once and serve every game of as
many players (and every sample of users):

    two players    coalition   {}    {a}   {b}   {a, b}
                   a          -1/2   1/2  -1/2    1/2
                   b          -1/2  -1/2   1/2    1/2

n players, M coalitions
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import factorial
from typing import Final

import numpy as np
import numpy.typing as npt

from features.errors import ConfigError

Floats = npt.NDArray[np.floating]
Bools = npt.NDArray[np.bool_]
MOST_EXACT: Final = 12  # players up to which all coalitions are asked
PAIRS: Final = 400  # permutations that are drawn beyond that, each also taken backwards


@dataclass(frozen=True, kw_only=True, eq=False)
class Weights:
    """Which coalitions are asked, and what each counts for each player.

    Args:
        inside: who is in each coalition, ``[M, n]``.
        weight: ``[M, n]``; values are ``weight.T @ (what coalitions bring)``.
        draw: which pair of permutations a coalition belongs to, ``[M]``; 0 where nothing is drawn.
        num_draws: how many there are; 0 where all coalitions are asked.
    """

    inside: Bools
    weight: Floats
    draw: npt.NDArray[np.integer]
    num_draws: int

    @classmethod
    @lru_cache(maxsize=2 * MOST_EXACT)  # one of each size: the largest holds 4,096 coalitions
    def of_all(cls, num_players: int) -> Weights:
        """Return the weights of all 2^n coalitions: +(s-1)! (n-s)! / n! for members, -s! (n-1-s)! / n! for the others.

        Raises:
            ConfigError: more players than all coalitions can be asked for.
        """
        if not 1 <= num_players <= MOST_EXACT:
            raise ConfigError(f"exact Shapley values: expected 1 to {MOST_EXACT} players, found {num_players}.")
        n = num_players
        inside = (np.arange(2**n)[:, None] >> np.arange(n)) & 1 == 1
        share = np.array([factorial(s) * factorial(n - 1 - s) / factorial(n) for s in range(n)] + [0.0])
        size = inside.sum(axis=1)
        weight = np.where(inside, share[size - 1][:, None], -share[size][:, None])
        return cls(inside=inside, weight=weight, draw=np.zeros(2**n, np.int64), num_draws=0)

    @classmethod
    def of_permutations(cls, num_players: int, *, num_pairs: int = PAIRS, rng: np.random.Generator) -> Weights:
        """Return the weights of the coalitions that drawn permutations build up, one player after the other.

        Each permutation is taken backwards too: what a player adds early and what it adds late offset each other.

        Args:
            num_players: n.
            num_pairs: permutations drawn, at least 2.
            rng: draws them.

        Source: Castro, Gomez, Tejada 2009; both ways: Mitchell, Cooper, Frank, Holmes 2022.
        """
        if num_pairs < 2:
            raise ConfigError(f"sampled Shapley values: expected 2 pairs of permutations or more, found {num_pairs}.")
        n = num_players
        forward = np.argsort(rng.random((num_pairs, n)), axis=1)
        place = np.argsort(np.stack([forward, forward[:, ::-1]], axis=1), axis=2)  # [pairs, 2, n]
        built = np.arange(n + 1)[:, None]
        inside = place[:, :, None, :] < built  # [pairs, 2, n + 1, n]
        entered = (place[:, :, None, :] == built - 1).astype(np.float64)
        enters_next = place[:, :, None, :] == built
        weight = (entered - enters_next) / (2 * num_pairs)
        draw = np.repeat(np.arange(num_pairs), 2 * (n + 1))
        return cls(inside=inside.reshape(-1, n), weight=weight.reshape(-1, n), draw=draw, num_draws=num_pairs)

    @classmethod
    def of(cls, num_players: int, *, rng: np.random.Generator) -> Weights:
        """Return exact weights up to ``MOST_EXACT`` players, and sampled ones beyond."""
        return cls.of_all(num_players) if num_players <= MOST_EXACT else cls.of_permutations(num_players, rng=rng)

    def values(self, brought: Floats) -> tuple[Floats, Floats]:
        """Return each player's value and its standard error, ``[n, K]`` twice.

        Args:
            brought: what each coalition brings, ``[M, K]``.
        """
        found = self.weight.T @ brought
        if not self.num_draws:
            return found, np.zeros_like(found)
        each = np.zeros((self.num_draws, *found.shape))
        np.add.at(each, self.draw, self.weight[:, :, None] * brought[:, None, :] * self.num_draws)
        return found, each.std(axis=0, ddof=1) / np.sqrt(self.num_draws)


def shapley_values(worth: Callable[[Bools], Floats], num_players: int, *, seed: int = 0) -> tuple[Floats, Floats]:
    """Return the Shapley values of a game and their standard errors, ``[n, K]`` twice.

    Exact up to 12 players, with errors of 0; from sampled permutations beyond.

    Args:
        worth: what coalitions bring: ``[M, n]`` of who is inside -> ``[M, K]``.
        num_players: n.
        seed: of the permutations.

    Returns:
        values sum to what all bring together less what the empty coalition does, also where they were sampled.
    """
    weights = Weights.of(num_players, rng=np.random.default_rng(seed))
    return weights.values(worth(weights.inside))
