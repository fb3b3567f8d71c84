"""The difference of two groups' means where units may move together: by clusters, with few of them allowed for.

Sources: Welch 1947 (units that are independent); Bertrand, Duflo, Mullainathan 2004, "How much should we trust
differences-in-differences estimates?" (one figure a unit before and after leaves no serial correlation to mislead);
Bell, McCaffrey 2002 and Imbens, Kolesár 2016, "Robust standard errors in small samples" (degrees of freedom).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special

from features.errors import DataError
from features.insight.experiments.estimates import quantile

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """Mean of the treated less mean of the others.

    Args:
        value: the difference.
        se: its standard error.
        dof: degrees of freedom of Student's t.
    """

    value: float
    se: float
    dof: float

    def interval(self, level: float) -> tuple[float, float]:
        """Return the two-sided interval; missing where nothing varies."""
        if not self.se > 0:
            return math.nan, math.nan
        reach = quantile(level, self.dof) * self.se
        return self.value - reach, self.value + reach

    @property
    def p(self) -> float:
        """Two-sided, of no difference."""
        return 2 * float(special.stdtr(self.dof, -abs(self.value) / self.se)) if self.se > 0 else math.nan


def contrast(values: Floats, treated: Bools, cluster: npt.ArrayLike | None = None) -> Contrast:
    """Return the difference of means with its clustered standard error.

    Args:
        values: of each unit, ``[U]``.
        treated: ``[U]``.
        cluster: of each unit; each unit is its own where left out. A cluster may have units of both groups.

    Raises:
        DataError: a group has fewer than two clusters.
    """
    difference = float(values[treated].mean() - values[~treated].mean())
    parts = influence(values[:, None], treated)
    variances, numbers = zip(*_by_group(parts, treated, cluster), strict=True)
    if cluster is not None and _shared(treated, cluster):
        sums = cluster_sums(parts, cluster)
        number = len(sums)
        variance = float((sums.T @ sums)[0, 0]) * number / (number - 1)
        return Contrast(value=difference, se=math.sqrt(variance), dof=number - 1)
    variance = sum(variances)
    below = sum(v**2 / (n - 1) for v, n in zip(variances, numbers, strict=True))
    return Contrast(value=difference, se=math.sqrt(variance), dof=variance**2 / below if below > 0 else math.inf)


def influence(values: Floats, treated: Bools) -> Floats:
    """Return what each unit adds to the difference of means less that difference, ``[U, K]`` of values ``[U, K]``."""
    found = np.empty_like(values)
    for group, sign in ((treated, 1.0), (~treated, -1.0)):
        found[group] = sign * (values[group] - values[group].mean(axis=0)) / group.sum()
    return found


def cluster_sums(parts: Floats, cluster: npt.ArrayLike | None) -> Floats:
    """Return the sums of rows by cluster, ``[G, K]``; the rows themselves where there are no clusters."""
    if cluster is None:
        return parts
    code = pd.factorize(np.asarray(cluster))[0]
    found = np.zeros((code.max() + 1, parts.shape[1]))
    np.add.at(found, code, parts)
    return found


def check_groups(treated: Bools, cluster: npt.ArrayLike | None = None) -> None:
    """Raise where there is nobody to compare with.

    Raises:
        DataError: a group is empty, or has fewer than two clusters.
    """
    for name, group in (("treated", treated), ("control", ~treated)):
        number = int(group.sum()) if cluster is None else len(np.unique(np.asarray(cluster)[group]))
        if not group.any():
            raise DataError(
                f"expected a {name} group, found no unit in it among {len(treated)}; name units that the campaign did "
                f"{'reach' if name == 'treated' else 'not reach'}."
            )
        if number < 2:
            what = "units" if cluster is None else "clusters"
            raise DataError(
                f"expected at least two {what} in the {name} group, found {number}; one alone tells nothing of how much "
                f"{what} differ. For one treated unit ask for a synthetic control."
            )


def _by_group(parts: Floats, treated: Bools, cluster: npt.ArrayLike | None) -> list[tuple[float, int]]:
    """Return each group's part of the variance, and its number of clusters."""
    check_groups(treated, cluster)
    found = []
    for group in (treated, ~treated):
        own = None if cluster is None else np.asarray(cluster)[group]
        sums = cluster_sums(parts[group], own)
        found.append((float((sums**2).sum()) * len(sums) / (len(sums) - 1), len(sums)))
    return found


def _shared(treated: Bools, cluster: npt.ArrayLike) -> bool:
    names = np.asarray(cluster)
    return bool(np.isin(names[treated], names[~treated]).any())
