"""Lists drawn at random on purpose, with the true chance of each item at each place.

Place by place, one of the items that are left is drawn in proportion to its weight (Plackett-Luce), which falls with
its rank in the list as it would be without exploration:

    weight of rank r of m  =  (1 - epsilon) 2^(-r / half_life) / sum of the same  +  epsilon / m

Ranks, not scores, decide: so the weights mean the same on every surface and with any rules, and the chance of rank r
at place j is one table for all lists of m items. All of it is above 0.

Source: Plackett 1975, "The Analysis of Permutations", Applied Statistics 24; the draw by exponential waiting times is
Efraimidis and Spirakis 2006, "Weighted Random Sampling with a Reservoir", Information Processing Letters 97.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

MOST_DRAWN: Final = 200  # places, and candidates; one table of chances is then 320 kB at most
_MOST_TABLES: Final = 64
_STEP: Final = 0.08  # of the logarithm of time; halving it moves no chance by more than 1e-9 of it


@dataclass(frozen=True, kw_only=True)
class Explore:
    """How places are drawn.

    Args:
        half_life: ranks after which a weight has halved; the smaller, the closer to the list without exploration.
        epsilon: share of the weight that all items have alike, above 0.
        candidates: the first so many items of the list may be drawn; as many as places in any case, up to ``MOST_DRAWN``.
            What stands behind those follows in order, undrawn.
    """

    half_life: float = 5.0
    epsilon: float = 0.1
    candidates: int = 50

    def size(self, num_ranked: int, k: int) -> int:
        """Return how many items may be drawn."""
        return min(num_ranked, max(self.candidates, min(k, MOST_DRAWN)))

    def draw(self, num: int, *, places: int, rng: np.random.Generator) -> Ints:
        """Return the ranks that stand at the first places, ``[min(places, num)]``, out of ``num`` candidates."""
        waits = rng.exponential(size=num) / weights(num, self.half_life, self.epsilon)
        return np.argsort(waits)[:places]

    def chance(self, num: int) -> Floats:
        """Return the chance of each rank at each place out of ``num`` candidates, float64 ``[num, num]``."""
        return _chances(num, self.half_life, self.epsilon)


@lru_cache(maxsize=256)
def weights(num: int, half_life: float, epsilon: float) -> Floats:
    """Return the weight of each rank, float64 ``[num]``, summing to 1."""
    falling = np.exp2(-np.arange(num) / half_life)
    return (1 - epsilon) * falling / falling.sum() + epsilon / num


@lru_cache(maxsize=_MOST_TABLES)
def _chances(num: int, half_life: float, epsilon: float) -> Floats:
    # What cannot be told from 0 is never drawn either; a chance is above 0 all the same.
    return np.clip(place_chances(weights(num, half_life, epsilon)), np.finfo(np.float64).tiny, 1.0)


def place_chances(weight: Floats) -> Floats:
    """Return the chance that item ``a`` is drawn at place ``j`` of a Plackett-Luce ranking, float64 ``[m, m]``.

    An item that waits an exponential time of rate ``w_a`` comes at place ``j`` if just ``j`` others come before it:

        P[a, j]  =  integral over t of  w_a exp(-w_a t)  P(exactly j of the others come before t)

    The integrand is smooth in log t and vanishes at both ends, so the trapezoid rule is as exact as floats are.

    Args:
        weight: above 0, float64 ``[m]``.
    """
    m = len(weight)
    log_t = np.arange(np.log(1e-14 / weight.sum()), np.log(800 / weight.min()), _STEP)
    t = np.exp(log_t)  # [G]
    arrived = -np.expm1(-np.outer(t, weight))  # [G, m], chance to have come before t
    density = weight * np.exp(-np.outer(t, weight)) * (t * _STEP)[:, None]  # [G, m]
    number = _number_arrived(arrived)  # [G, m + 1]
    return _low_first(number, arrived, density, m) + _high_first(number, arrived, density, m)


def _number_arrived(arrived: Floats) -> Floats:
    """Return the chance that exactly n of all items have come, ``[G, m + 1]`` (Poisson binomial)."""
    num_times, m = arrived.shape
    number = np.zeros((num_times, m + 1))
    number[:, 0] = 1
    for a in range(m):
        came = arrived[:, a : a + 1]
        number[:, 1 : a + 2] = number[:, 1 : a + 2] * (1 - came) + number[:, : a + 1] * came
        number[:, 0] *= 1 - came[:, 0]
    return number


def _low_first(number: Floats, arrived: Floats, density: Floats, m: int) -> Floats:
    """Leave each item out of the count, where it has likely not come yet: dividing from the low end is stable there."""
    low = arrived <= 0.5
    came = np.where(low, arrived, 0.0)
    found, others = np.zeros((m, m)), np.zeros_like(arrived)
    for j in range(m):
        others = (number[:, j : j + 1] - came * others) / (1 - came)  # [G, m], exactly j others have come
        found[:, j] = np.where(low, density * others, 0.0).sum(axis=0)
    return found


def _high_first(number: Floats, arrived: Floats, density: Floats, m: int) -> Floats:
    """Leave each item out of the count, where it has likely come: dividing from the high end is stable there."""
    high = arrived > 0.5
    came = np.where(high, arrived, 1.0)
    found, others = np.zeros((m, m)), np.zeros_like(arrived)
    for j in range(m - 1, -1, -1):
        others = (number[:, j + 1 : j + 2] - (1 - came) * others) / came
        found[:, j] = np.where(high, density * others, 0.0).sum(axis=0)
    return found
