"""Poisson regression of units with an effect for each item and for each period, and intervals that hold with few items.

    E[units of item i in period t] = exp(item_i + period_{g(i), t} + x_{it} . beta)

``g(i)`` is the item's group (all items, or its category): each group has its own course of time. It is estimated by
Poisson pseudo-maximum likelihood, which needs no more than this mean to be right: counts may be over-dispersed, mostly
zero, correlated within an item (Gourieroux, Monfort, Trognon 1984; Santos Silva and Tenreyro 2006). With two sets of
effects beta has no incidental-parameter bias (Fernández-Val and Weidner 2016).

I items, T periods, K regressors, G groups
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from features.errors import DataError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_TOLERANCE: Final = 1e-8
_MOST_STEPS: Final = 100
_MOST_SWEEPS: Final = 1000
_LONGEST_STEP: Final = 2.0
_MOST_LEVERAGE: Final = 0.9


@dataclass(frozen=True, kw_only=True, eq=False)
class PoissonFit:
    """What was estimated.

    Args:
        beta: float64 ``[K]``; NaN where the data cannot tell a regressor from the effects.
        covariance: ``[K, K]``, robust to anything within an item; NaN likewise.
        information: what each item tells of beta, ``[I, K, K]``; 0 where a beta is NaN.
        mean: expected units, used or not, ``[I, T]``; 0 where the item, or the group in that period, sold nothing.
        used: cells that took part: known, of an item and a group's period that sold something, bool ``[I, T]``.
    """

    beta: Floats
    covariance: Floats
    information: Floats
    mean: Floats
    used: Bools

    def degrees_of(self, weights: Floats) -> float:
        """Return the degrees of freedom of the t of ``weights . beta``: about how many items of equal weight tell of it.

        ``1 / sum w_i^2``, with each item's share ``w_i`` of what is told (Bell and McCaffrey 2002, for equal errors).
        """
        told = np.isfinite(self.beta)
        own = self.information[:, told][:, :, told]
        through = np.linalg.solve(own.sum(axis=0), weights[told])
        share = np.einsum("k,ikl,l->i", through, own, through)
        return float(np.square(share.sum()) / max(np.square(share).sum(), 1e-300))


def fit_poisson(units: npt.NDArray[np.floating], regressors: npt.NDArray[np.floating], groups: Ints) -> PoissonFit:
    """Estimate the regression.

    Args:
        units: ``[I, T]``; NaN where nothing is known.
        regressors: ``[I, T, K]``, finite.
        groups: of each item, 0 .. G - 1, ``[I]``.

    Raises:
        DataError: shapes do not fit together.
    """
    if regressors.ndim != 3 or regressors.shape[:2] != units.shape or groups.shape != units.shape[:1]:
        raise DataError(
            f"fit_poisson: expected units [I, T], regressors [I, T, K] and groups [I], found {units.shape}, "
            f"{regressors.shape} and {groups.shape}."
        )
    used = _telling(units, groups)
    counts = np.where(used, units, 0.0).astype(np.float64)
    effects = _Effects(counts=counts, used=used, members=np.eye(int(groups.max(initial=0)) + 1)[groups], groups=groups)
    x = np.asarray(regressors, np.float64) * used[:, :, None]
    chosen = _identified(x, counts, effects)
    beta, mean = _maximise(x[:, :, chosen], effects)
    covariance, information = _covariance(x[:, :, chosen], mean, effects)
    return PoissonFit(
        beta=_spread(beta, chosen, np.nan),
        covariance=_spread(_spread(covariance, chosen, np.nan).T, chosen, np.nan).T,
        information=np.moveaxis(_spread(_spread(information.T, chosen, 0.0).swapaxes(0, 1), chosen, 0.0), 2, 0),
        mean=effects.everywhere(mean, np.exp(regressors[:, :, chosen] @ beta)),
        used=used,
    )


def _telling(units: npt.NDArray[np.floating], groups: Ints) -> Bools:
    """Return the known cells of items, and of groups' periods, that sold anything; the others say nothing of beta."""
    used = np.isfinite(units)
    members = np.eye(int(groups.max(initial=0)) + 1)[groups]
    while True:
        counts = np.where(used, units, 0.0)
        kept = used & (counts.sum(axis=1) > 0)[:, None] & (members.T @ counts > 0)[groups]
        if (kept == used).all():
            return used
        used = kept


@dataclass(frozen=True, kw_only=True, eq=False)
class _Effects:
    """The effects of items and of groups' periods.

    Args:
        counts: units, 0 where not used, ``[I, T]``.
        used: ``[I, T]``.
        members: 1 where an item is in a group, ``[I, G]``.
        groups: ``[I]``.
    """

    counts: Floats
    used: Bools
    members: Floats
    groups: Ints

    def mean(self, multiplier: Floats) -> Floats:
        """Return the mean whose sums by item and by group's period are those of the counts, ``[I, T]``.

        It is ``multiplier`` times an item's and a period's factor, found by scaling rows and columns in turn.
        """
        mean = multiplier * self.used
        by_item, by_period = self.counts.sum(axis=1), self.members.T @ self.counts
        for _ in range(_MOST_SWEEPS):
            mean *= _ratio(by_period, self.members.T @ mean)[self.groups]
            rows = _ratio(by_item, mean.sum(axis=1))
            mean *= rows[:, None]
            if np.abs(rows[by_item > 0] - 1).max(initial=0) < _TOLERANCE:
                break
        return mean

    def everywhere(self, mean: Floats, multiplier: Floats) -> Floats:
        """Return the mean of cells that were not used too, from the factors behind those that were, ``[I, T]``."""
        item = _ratio(self.counts.sum(axis=1), (multiplier * self.used).sum(axis=1))
        for _ in range(_MOST_SWEEPS):
            period = _ratio(self.members.T @ mean, self.members.T @ (multiplier * self.used * item[:, None]))
            last, item = item, _ratio(mean.sum(axis=1), (multiplier * self.used * period[self.groups]).sum(axis=1))
            if np.abs(item - last).max(initial=0) <= _TOLERANCE * item.max(initial=0):
                break
        return multiplier * item[:, None] * period[self.groups]

    def residuals(self, values: Floats, weights: Floats) -> Floats:
        """Return what is left of ``values`` ``[I, T, K]`` when weighted item and period means are taken out."""
        left = values.astype(np.float64)
        item_weight, period_weight = weights.sum(axis=1), self.members.T @ weights
        for _ in range(_MOST_SWEEPS):
            rows = _ratio(np.einsum("it,itk->ik", weights, left), item_weight[:, None])
            left -= rows[:, None]
            columns = _ratio(self._by_period(weights[:, :, None] * left), period_weight[:, :, None])
            left -= columns[self.groups]
            if np.abs(columns).max(initial=0) < _TOLERANCE:
                break
        return left * self.used[:, :, None]

    def leverage(self, mean: Floats) -> Floats:
        """Return each cell's own part in its group's period, ``[I, T]``: how far it pulls that effect towards itself."""
        return _ratio(mean, (self.members.T @ mean)[self.groups])

    def _by_period(self, values: Floats) -> Floats:
        return np.tensordot(self.members.T, values, axes=1)


def _identified(x: Floats, counts: Floats, effects: _Effects) -> Bools:
    """Return which regressors vary beyond the effects, and beyond those before them, and have sales, ``[K]``."""
    mean = effects.mean(np.ones_like(counts))
    left = effects.residuals(x, mean) * np.sqrt(mean)[:, :, None]
    before = np.sqrt((np.square(x) * mean[:, :, None]).sum(axis=(0, 1)))
    chosen = np.zeros(x.shape[2], bool)
    basis = np.zeros((counts.size, 0))
    for k in range(x.shape[2]):
        column = left[:, :, k].ravel()
        column = column - basis @ (basis.T @ column)
        size = float(np.linalg.norm(column))
        sold = (counts * (x[:, :, k] != 0)).sum() > 0
        if sold and size > 1e-4 * before[k]:
            chosen[k] = True
            basis = np.column_stack([basis, column / size])
    return chosen


def _maximise(x: Floats, effects: _Effects) -> tuple[Floats, Floats]:
    """Return beta ``[K]`` and the mean ``[I, T]``: Newton's steps on beta, the effects concentrated out."""
    beta = np.zeros(x.shape[2])
    mean = effects.mean(np.ones_like(effects.counts))
    for _ in range(_MOST_STEPS if len(beta) else 0):
        left = effects.residuals(x, mean)
        slope = np.einsum("itk,it->k", left, effects.counts - mean)
        step = np.linalg.solve(_information(left, mean), slope)
        step *= min(1.0, _LONGEST_STEP / max(np.abs(step).max(), 1e-300))
        beta += step
        mean = effects.mean(mean * np.exp(x @ step))
        if np.abs(step).max() < _TOLERANCE * 10:
            break
    return beta, mean


def _information(left: Floats, mean: Floats) -> Floats:
    flat = left.reshape(mean.size, left.shape[2])
    return (flat * mean.reshape(-1, 1)).T @ flat


def _covariance(x: Floats, mean: Floats, effects: _Effects) -> tuple[Floats, Floats]:
    """Return the covariance clustered by item, ``[K, K]``, and what each item tells, ``[I, K, K]``.

    Bias-reduced (CR2: Bell and McCaffrey 2002; Pustejovsky and Tipton 2018): an item's residuals are too small by what
    it puts into beta itself, ``(I - H^-1/2 H_i H^-1/2)^-1/2``, and into the effects of its periods, ``(1 - leverage)^-1/2``.
    Without the latter, an item that is most of its category explains itself, and its scatter goes unseen.
    """
    left = effects.residuals(x, mean)
    information = np.einsum("itk,it,itl->ikl", left, mean, left)
    leverage = np.minimum(effects.leverage(mean), _MOST_LEVERAGE)
    error = np.where(effects.used, effects.counts - mean, 0.0) / np.sqrt(1 - leverage)
    scores = np.einsum("itk,it->ik", left, error)
    root = np.linalg.inv(np.linalg.cholesky(information.sum(axis=0)))  # root H root' = 1
    shares, directions = np.linalg.eigh(root @ information @ root.T)
    freed = np.einsum("ikl,il,iml,mn,in->ik", directions, _freed(shares), directions, root, scores)
    moves = freed @ root
    return moves.T @ moves, information


def _freed(shares: Floats) -> Floats:
    return 1 / np.sqrt(1 - np.minimum(shares, _MOST_LEVERAGE))


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)


def _spread(values: Floats, chosen: Bools, empty: float) -> Floats:
    """Return values of the chosen regressors at their places along the first axis, ``empty`` elsewhere."""
    found = np.full((len(chosen), *values.shape[1:]), empty)
    found[chosen] = values
    return found
