"""Buyers simulated from the models' own assumptions, purchase by purchase."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.customers.value.histories import Floats, Histories


@dataclass(frozen=True, kw_only=True)
class World:
    """``times[n]``: weeks since the first purchase of each repeat of buyer n, who joined ``joined[n]`` weeks in."""

    joined: Floats
    times: list[Floats]
    alive_until: Floats

    def histories(self, week: float) -> Histories:
        """Histories as of ``week``; all must have joined by then."""
        age = week - self.joined
        known = [times[times <= limit] for times, limit in zip(self.times, age, strict=True)]
        return Histories(
            frequency=np.array([len(times) for times in known], np.float64),
            recency_weeks=np.array([times[-1] if len(times) else 0.0 for times in known]),
            age_weeks=age,
            count=np.ones(len(age)),
        )

    def came(self, week: float, weeks: float) -> Floats:
        """Repeats in the ``weeks`` after ``week``."""
        starts = week - self.joined
        pairs = zip(self.times, starts, strict=True)
        return np.array([((t > start) & (t <= start + weeks)).sum() for t, start in pairs], np.float64)

    def alive(self, week: float) -> npt.NDArray[np.bool_]:
        """Who had not left for good by ``week``."""
        return self.alive_until > week - self.joined


def beta_geometric_world(
    num_buyers: int, *, r: float, alpha: float, a: float, b: float, weeks: float, seed: int, at_once: bool = False
) -> World:
    """Buyers who may leave after each purchase; after the first too with ``at_once``."""
    draw = np.random.default_rng(seed)
    rates, chances = draw.gamma(r, 1 / alpha, num_buyers), draw.beta(a, b, num_buyers)
    most = draw.geometric(np.maximum(chances, 1e-9)) - int(at_once)  # repeats before leaving
    wished = [np.sort(draw.uniform(0, weeks, count)) for count in draw.poisson(rates * weeks)]
    times = [each[:limit] for each, limit in zip(wished, most, strict=True)]
    left = [each[-1] if len(each) else 0.0 for each in times]
    ends = np.where([len(each) >= limit for each, limit in zip(wished, most, strict=True)], left, np.inf)
    return World(joined=draw.uniform(0, 12, num_buyers), times=times, alive_until=ends)


def pareto_world(num_buyers: int, *, r: float, alpha: float, s: float, beta: float, weeks: float, seed: int) -> World:
    """Buyers with a lifetime."""
    draw = np.random.default_rng(seed)
    rates = draw.gamma(r, 1 / alpha, num_buyers)
    lives = draw.exponential(1 / np.maximum(draw.gamma(s, 1 / beta, num_buyers), 1e-12))
    limits = np.minimum(lives, weeks)
    times = [np.sort(draw.uniform(0, end, draw.poisson(rate * end))) for rate, end in zip(rates, limits, strict=True)]
    return World(joined=draw.uniform(0, 12, num_buyers), times=times, alive_until=lives)
