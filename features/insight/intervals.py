"""Intervals of shares, on aggregates."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

Floats = npt.NDArray[np.floating]
LEVEL: Final = 0.95


def z_of(level: float) -> float:
    """Return within how many standard errors of the middle of a normal distribution a share of it lies.

    >>> round(z_of(0.95), 4)
    1.96
    """
    return float(norm.ppf(0.5 + level / 2))


Z: Final = z_of(LEVEL)


def wilson(came: npt.ArrayLike, of: npt.ArrayLike, *, level: float = LEVEL) -> tuple[Floats, Floats]:
    """Return the lower and upper end of the interval of a share; both are missing where nobody was there.

    >>> low, high = wilson(15, 148)
    >>> round(float(low), 4), round(float(high), 4)
    (0.0624, 0.1605)

    Args:
        came: how many of them, at least 0; need not be whole.
        of: how many there were.
        level: how often such intervals hold what is true.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference"; the example is
    Newcombe's of 1998.
    """
    number = np.asarray(of, np.float64)
    z = z_of(level)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.asarray(came, np.float64) / number
        center = (share + z**2 / (2 * number)) / (1 + z**2 / number)
        reach = z / (1 + z**2 / number) * np.sqrt(share * (1 - share) / number + z**2 / (4 * number**2))
    low, high = np.where(share <= 0, 0.0, center - reach), np.where(share >= 1, 1.0, center + reach)
    known = number > 0
    return np.where(known, np.maximum(low, 0.0), np.nan), np.where(known, np.minimum(high, 1.0), np.nan)


def effective_number(
    came: npt.ArrayLike,
    of: npt.ArrayLike,
    *,
    came_sq: npt.ArrayLike,
    came_of: npt.ArrayLike,
    of_sq: npt.ArrayLike,
    customers: npt.ArrayLike,
) -> Floats:
    """Return how many independent cases a share of cases is worth, where one customer has many.

    Cases of one customer are alike, so that counting them as independent makes intervals too narrow. The variance of a
    share p = sum x / sum n over customers is

        sum (x_u - p n_u)^2 / (sum n_u)^2  =  (sum x_u^2 - 2 p sum x_u n_u + p^2 sum n_u^2) / (sum n_u)^2

    and the share is worth as many independent cases as would give that variance, p (1 - p) / variance, and at most the
    cases there are. Where p is 0 or 1 there is no variance to see, and it is the number of customers.

    Args:
        came: sum of x_u, the cases of a customer that came.
        of: sum of n_u, all cases of a customer.
        came_sq: sum of squares of x_u.
        came_of: sum of x_u n_u.
        of_sq: sum of squares of n_u.
        customers: how many there are with n_u > 0.

    Source: the linearised variance of a ratio over clusters (Cochran 1977, "Sampling Techniques", section 11.8).
    """
    x, n, xx, xn, nn, most = (np.asarray(one, np.float64) for one in (came, of, came_sq, came_of, of_sq, customers))
    p = ratio(x, n)
    variance = ratio(xx - 2 * p * xn + p**2 * nn, n**2)
    seen = (p > 0) & (p < 1) & (variance > 0)
    worth = np.divide(p * (1 - p), variance, out=np.broadcast_to(most, p.shape).copy(), where=seen)
    return np.minimum(worth, n)


def clustered(
    came: npt.ArrayLike, of: npt.ArrayLike, worth: npt.ArrayLike, *, level: float = LEVEL
) -> tuple[Floats, Floats]:
    """Return the ends of the interval of a share of cases that is worth fewer independent ones.

    Args:
        came: how many of them.
        of: how many there were.
        worth: from ``effective_number``.
        level: how often such intervals hold what is true.

    Source: the effective sample size within Wilson's interval as in Korn and Graubard 1998 and Dean and Pagano 2015.
    """
    number = np.asarray(worth, np.float64)
    return wilson(ratio(came, of) * number, number, level=level)


def ratio(part: npt.ArrayLike, whole: npt.ArrayLike) -> Any:
    """Return ``part / whole`` as floats, missing where ``whole`` is 0."""
    below = np.asarray(whole, np.float64)
    return np.divide(
        np.asarray(part, np.float64), below, out=np.full(np.broadcast(part, below).shape, np.nan), where=below != 0
    )


def difference_of_shares(
    came: npt.ArrayLike,
    of: npt.ArrayLike,
    came_before: npt.ArrayLike,
    of_before: npt.ArrayLike,
    *,
    level: float = LEVEL,
) -> tuple[Floats, Floats]:
    """Return the lower and upper end of the interval of a share less another, of other people.

    >>> low, high = difference_of_shares(56, 70, 48, 80)
    >>> round(float(low), 4), round(float(high), 4)
    (0.0524, 0.3339)

    Args:
        came: how many of them.
        of: how many there were.
        came_before: how many of the others.
        of_before: how many others there were.
        level: how often such intervals hold what is true.

    Source: Newcombe 1998, "Interval estimation for the difference between independent proportions", method 10; the
    example is his.
    """
    share, before = ratio(came, of), ratio(came_before, of_before)
    low, high = wilson(came, of, level=level)
    low_before, high_before = wilson(came_before, of_before, level=level)
    down = np.sqrt((share - low) ** 2 + (high_before - before) ** 2)
    up = np.sqrt((high - share) ** 2 + (before - low_before) ** 2)
    return share - before - down, share - before + up
