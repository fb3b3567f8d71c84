"""What users did, as arrays, and the means of arms made of them: ratios, caps, and the past taken off.

Sources: Deng, Xu, Kohavi, Walker 2013, "Improving the sensitivity of online controlled experiments by utilizing
pre-experiment data" (CUPED); Deng, Knoblich, Lu 2018, "Applying the delta method in metric analytics" (ratios).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from features.insight.experiments.estimates import ArmMean

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
_LEAST_FREE: Final = 1e-6  # degrees of freedom: below it a variance is 0 over 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """One metric of the users of a test.

    Args:
        arm: number of each user's arm, ``[N]``.
        num_arms: A.
        value: of the metric, or of its upper part, ``[N]``.
        per: of its lower part; nothing where that is users.
        before, per_before: the same before the assignment; nothing where the metric is not adjusted.
        has_past: whether the user was known before the assignment, ``[N]``; everybody where left out.
    """

    arm: Ints
    num_arms: int
    value: Floats
    per: Floats | None = None
    before: Floats | None = None
    per_before: Floats | None = None
    has_past: Bools | None = None

    def take(self, rows: slice | Bools | Ints) -> Sample:
        """Return some of the users."""
        arrays = ("arm", "value", "per", "before", "per_before", "has_past")
        kept: dict[str, Any] = {
            name: None if getattr(self, name) is None else getattr(self, name)[rows] for name in arrays
        }
        return Sample(num_arms=self.num_arms, **kept)

    def winsorised(self, at: float) -> Sample:
        """Return the sample with large values taken down to the quantile ``at`` of all users, arms pooled.

        Each part is capped at a quantile of its own, and so is the past; one that has no ``cap`` stays.
        """
        parts = ("value", "per", "before", "per_before")
        found: dict[str, Any] = {
            name: None if getattr(self, name) is None else _capped(getattr(self, name), at) for name in parts
        }
        return replace(self, **found)

    def sums(self, values: Floats) -> Floats:
        """Return the sum of each arm, ``[A]``."""
        return np.bincount(self.arm, values, minlength=self.num_arms).astype(np.float64)

    @property
    def counts(self) -> Ints:
        """Users in each arm, ``[A]``."""
        return np.bincount(self.arm, minlength=self.num_arms)


@dataclass(frozen=True, kw_only=True, eq=False)
class Adjusted:
    """Means with the past taken off.

    Args:
        means: of the arms.
        correlation: of past and present within an arm, pooled, 0 to 1: the standard error shrinks by
            ``sqrt(1 - correlation^2)``.
    """

    means: tuple[ArmMean, ...]
    correlation: float


def plain_means(sample: Sample) -> tuple[ArmMean, ...]:
    """Return the mean, or the ratio of means, of each arm; arms of fewer than two users have no variance (NaN)."""
    values, centres = _linearised(sample)
    return _means(sample.counts, centres, sample.sums(np.square(values)))


def adjusted_means(sample: Sample) -> Adjusted:
    """Return the means of the arms as if their users had had the same past.

        adjusted = mean - theta (mean of the arm's past - mean of everybody's past)

    ``theta`` is the slope of the present on the past within an arm, one for all arms. A user without a past gets the mean
    of those who have one, and whether there is a past is a second covariate with a slope of its own: newcomers differ,
    and a guess in the place of their past says nothing of that. A ratio's past is the ratio before, and both are made
    linear in the user first: ``(value - ratio * per) / mean of per``.

    Slopes take degrees of freedom: each arm loses those of its users' leverages, K in all, and the variance grows by
    ``K / (N - A)``, what the arms' different pasts are expected to add to that of a difference.

    Args:
        sample: with ``before``.
    """
    values, centres = _linearised(sample)
    past = _past(sample)  # [N, K]
    by_arm = np.stack([_over(sample.sums(column), sample.counts) for column in past.T], axis=1)  # [A, K]
    within = past - by_arm[sample.arm]
    scale = np.sqrt(np.square(within).mean(axis=0))
    within, by_arm, past = (x / np.where(scale > 0, scale, 1.0) for x in (within, by_arm, past))
    inverse = np.linalg.pinv(within.T @ within, hermitian=True)
    theta = inverse @ (within.T @ values)
    slopes = sample.sums(np.einsum("nk,kl,nl->n", within, inverse, within))  # [A], together K
    wider = 1 + float(slopes.sum()) / max(len(values) - sample.num_arms, 1)
    explained, total = within @ theta, float(values @ values)
    shift = (by_arm - past.mean(axis=0)) @ theta
    shared = float(explained @ explained) / len(values) ** 2
    squares = wider * sample.sums(np.square(values - explained))
    means = _means(sample.counts, centres - shift, squares, slopes=slopes, shared=shared)
    return Adjusted(means=means, correlation=float(np.sqrt(explained @ explained / total)) if total > 0 else 0.0)


def _linearised(sample: Sample) -> tuple[Floats, Floats]:
    """Return each user's part in the arm's mean less that mean, ``[N]``, and the means, ``[A]``.

    value 6 3 0, per 2 1 3     ratio 9 / 6 = 1.5, parts (6 - 3) / 2, (3 - 1.5) / 2, (0 - 4.5) / 2
    """
    totals = sample.sums(sample.value)
    if sample.per is None:
        centres = _over(totals, sample.counts)
        return sample.value - centres[sample.arm], centres
    below = sample.sums(sample.per)
    ratios, mean_below = _over(totals, below), _over(below, sample.counts)
    return _over(sample.value - ratios[sample.arm] * sample.per, mean_below[sample.arm]), ratios


def _past(sample: Sample) -> Floats:
    """Return each user's past, linear in the user, and whether there is none where that differs, ``[N, 1 or 2]``."""
    assert sample.before is not None
    known = np.ones(len(sample.arm), bool) if sample.has_past is None else sample.has_past
    if not known.any():
        return np.zeros((len(sample.arm), 1))
    before = sample.before
    if sample.per_before is not None:
        below = float(sample.per_before[known].sum())
        ratio = float(before[known].sum()) / below if below > 0 else 0.0
        before = before - ratio * sample.per_before
    past = np.where(known, before, before[known].mean())
    return past[:, None] if known.all() else np.stack([past, ~known], axis=1)


def _means(
    counts: Ints, values: Floats, squares: Floats, *, slopes: Floats | float = 0.0, shared: float = 0.0
) -> tuple[ArmMean, ...]:
    taken = np.broadcast_to(np.asarray(slopes, np.float64), counts.shape)
    free = counts - 1 - taken
    with np.errstate(invalid="ignore", divide="ignore"):
        variances = np.where(free > _LEAST_FREE, squares / free / counts, np.nan)
    return tuple(
        ArmMean(num_users=int(count), value=float(value), variance=float(variance), shared=shared, slopes=float(slope))
        for count, value, variance, slope in zip(counts, values, variances, taken, strict=True)
    )


def _over(above: Floats, below: npt.NDArray[np.number]) -> Floats:
    """Return a quotient, NaN where there is nothing below."""
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0)


def cap(values: Floats, at: float) -> float | None:
    """Return the quantile that values are taken down to, nothing where it lies below the least of those above 0.

    Of 1,000 users one spent 100: the quantile .999, drawn between neighbours, is 0.1, and would leave nothing to compare.
    """
    spent = values[values > 0]
    if not len(spent):
        return None
    found = float(np.quantile(values, at))
    return found if found >= spent.min() else None


def _capped(values: Floats, at: float) -> Floats:
    found = cap(values, at)
    return values if found is None else np.minimum(values, found)
