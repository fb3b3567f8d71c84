"""How far a mean over users could move with other users: percentile bootstrap, paired by construction.

Q users, C columns (a metric of a model each), R resamples. One draw of users serves all columns, so
that the difference of two columns within a resample is a paired difference.

Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from features.errors import ConfigError

Floats = npt.NDArray[np.float64]

_DRAWS_A_CHUNK: Final = 2_000_000


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean and the percentile interval around it."""

    mean: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """True if the whole interval lies on one side of 0."""
        return self.low > 0 or self.high < 0


def resampled_means(values: Floats, *, resamples: int, seed: int) -> Floats:
    """Return the mean of each column over users drawn with replacement, ``[R, C]``.

    Args:
        values: one row a user, ``[Q, C]``.
        resamples: R.
        seed: the same seed draws the same users for any number of columns.

    Raises:
        ConfigError: there is no user, or no resample is asked for.
    """
    num_users = len(values)
    if num_users == 0 or resamples < 1:
        raise ConfigError(
            f"Bootstrap: expected at least 1 user and 1 resample, found {num_users} users and {resamples} resamples."
        )
    rng = np.random.default_rng(seed)
    rows = max(1, _DRAWS_A_CHUNK // num_users)
    chunks = []
    for start in range(0, resamples, rows):
        size = min(rows, resamples - start)
        drawn = rng.integers(0, num_users, size=(size, num_users), dtype=np.int32)
        cells = drawn + np.arange(size)[:, None] * num_users
        times = np.bincount(cells.ravel(), minlength=size * num_users).reshape(size, num_users)
        chunks.append(times.astype(np.float64) @ values / num_users)
    return np.concatenate(chunks)


def intervals(values: Floats, *, resamples: int = 1000, seed: int = 0, level: float = 0.95) -> list[Interval]:
    """Return the mean of each column of ``values`` ``[Q, C]`` with its percentile interval."""
    resampled = resampled_means(values, resamples=resamples, seed=seed)
    return _around(values.mean(axis=0), resampled, level)


def mean_interval(values: Floats, *, resamples: int = 1000, seed: int = 0, level: float = 0.95) -> Interval:
    """Return the mean of ``values`` ``[Q]`` with its percentile interval."""
    return intervals(values[:, None], resamples=resamples, seed=seed, level=level)[0]


def paired_difference(
    ours: Floats, theirs: Floats, *, resamples: int = 1000, seed: int = 0, level: float = 0.95
) -> Interval:
    """Return the mean of ``ours - theirs``, user by user ``[Q]``, with its percentile interval."""
    return mean_interval(ours - theirs, resamples=resamples, seed=seed, level=level)


def _around(means: Floats, resampled: Floats, level: float) -> list[Interval]:
    tail = (1 - level) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail], axis=0)
    return [Interval(mean=float(m), low=float(a), high=float(b)) for m, a, b in zip(means, low, high, strict=True)]
