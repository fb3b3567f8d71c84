"""Synthetic control: one region (or channel) that had a campaign, beside a mixture of those that had none.

    index      each unit's outcome over its own mean before the campaign: 1 is as before
    weights    of the other units, at least 0, together 1, whose mixture comes closest to the treated unit before
    lift       the treated unit's index during the campaign over the mixture's, less 1

How far from 0 the lift may be by chance is told by placebos: each other unit is taken for the treated one, with the rest
to mix from. Chance works on the ratio as the campaign does, so that the interval is ``ratio / r`` to ``ratio * r`` less 1,
with r the placebos' ratio (or its inverse) at the level. Units of different size need no more than to move alike.

Sources: Abadie, Diamond, Hainmueller 2010, "Synthetic control methods for comparative case studies" (weights, placebos);
Doudchenko, Imbens 2016, "Balancing, regression, difference-in-differences and synthetic control methods" (levels set apart).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import nnls

from features.errors import DataError, did_you_mean
from features.insight.campaigns.outcomes import Floats, Panel

LEAST_PERIODS: Final = 4
_LEAST_UNITS: Final = 3  # to mix from
# Of the mean square: far below what data tell, it chooses among mixtures that fit alike.
_RIDGE: Final = 1e-9
_STEPS: Final = 100
Ints = npt.NDArray[np.integer]


@dataclass(frozen=True, kw_only=True, eq=False)
class SyntheticControl:
    """A campaign's effect on one unit.

    Args:
        unit: the treated one.
        lift, low, high: effect over what would have been without it.
        effect, effect_low, effect_high: outcome a day.
        level: how often such intervals hold the truth where units are alike; below what was asked for where there
            are too few units: of J others at most J / (J + 1).
        p: share of units, the treated one among them, that moved as far from their mixture.
        pre_error: root mean square of the index less the mixture's before the campaign.
        weights: unit, weight; of those that take part, largest first.
        path: period, first_day, last_day, during, actual, synthetic (outcome a day).
        placebos: unit, lift; of the others.
        left_out: units that were not mixed from, as they had no outcome before the campaign.
    """

    unit: str
    lift: float
    low: float
    high: float
    effect: float
    effect_low: float
    effect_high: float
    level: float
    p: float
    pre_error: float
    weights: pd.DataFrame
    path: pd.DataFrame
    placebos: pd.DataFrame
    left_out: tuple[str, ...]


def synthetic_control(panel: Panel, unit: str, *, level: float = 0.95) -> SyntheticControl:
    """Return the effect of a campaign on one unit; its days are the panel's last period.

    Args:
        panel: pieces of the time before, at least 4, then the campaign (``Windows.periods``). None of the other units
            may have had the campaign.
        unit: the one that had it.
        level: of the interval; see ``SyntheticControl.level``.

    Raises:
        DataError: the unit is unknown or did nothing before, others are fewer than 3, or periods fewer than 4.
    """
    treated = _row(panel, unit)
    before = panel.mean_of(slice(0, -1))
    if panel.rates.shape[1] - 1 < LEAST_PERIODS:
        raise DataError(
            f"synthetic control: expected at least {LEAST_PERIODS} periods before the campaign, found "
            f"{panel.rates.shape[1] - 1}; ask for a longer time before, or for shorter blocks."
        )
    if not before[treated] > 0:
        raise DataError(f"synthetic control: expected an outcome of {unit!r} before the campaign, found none.")
    others = np.flatnonzero((before > 0) & (np.arange(len(before)) != treated))
    if len(others) < _LEAST_UNITS:
        raise DataError(
            f"synthetic control: expected at least {_LEAST_UNITS} other units to mix from, found {len(others)}."
        )
    index = panel.rates / np.where(before > 0, before, 1.0)[:, None]
    weights, ratio = _mixed(index, treated, others)
    placebos = np.array([_mixed(index, int(row), others[others != row])[1] for row in others])
    fit = _Fit(
        treated=treated, others=others, index=index, weights=weights, ratio=ratio, placebos=placebos,
        unit_rate=float(before[treated]),
    )  # fmt: skip
    return _result(panel, fit, level=level)


def mixture(target: Floats, others: Floats) -> Floats:
    """Return the weights, at least 0 and together 1, whose mixture comes closest to a path, ``[J]``.

    Exact: for weights v of any sum, ``|A v|^2 + (sum v - 1)^2`` with ``A = others - target`` is least at a multiple of
    the answer, since its least over multiples of w is ``q / (1 + q)`` with ``q = |A w|^2``. So one non-negative least
    squares problem does.

    Args:
        target: ``[T]``.
        others: ``[J, T]``.
    """
    apart = (others - target).T
    scale = float(np.sqrt(np.mean(apart**2))) or 1.0
    size = apart.shape[1]
    rows = np.vstack([apart / scale, np.sqrt(_RIDGE * len(apart)) * np.eye(size), np.ones((1, size))])
    found, _ = nnls(rows, np.append(np.zeros(len(rows) - 1), 1.0), maxiter=_STEPS * size)
    return np.asarray(found / found.sum(), np.float64)


def _mixed(index: Floats, row: int, others: Ints) -> tuple[Floats, float]:
    weights = mixture(index[row, :-1], index[others, :-1])
    without = float(weights @ index[others, -1])
    return weights, float(index[row, -1]) / without if without > 0 else np.nan


def _row(panel: Panel, unit: str) -> int:
    if unit not in panel.units:
        known = [str(name) for name in panel.units]
        raise DataError(
            f"synthetic control: expected one of {len(known)} units, found {unit!r}.{did_you_mean(unit, known)}"
        )
    return int(panel.units.get_indexer(pd.Index([unit]))[0])


@dataclass(frozen=True, kw_only=True, eq=False)
class _Fit:
    """What a mixture is made of: rows of the panel, paths as indices, and 1 of the treated one's index in its unit."""

    treated: int
    others: Ints
    index: Floats
    weights: Floats
    ratio: float
    placebos: Floats
    unit_rate: float

    @property
    def synthetic(self) -> Floats:
        return self.weights @ self.index[self.others]


def _result(panel: Panel, fit: _Fit, *, level: float) -> SyntheticControl:
    treated, others, placebos, synthetic = fit.treated, fit.others, fit.placebos, fit.synthetic
    number, without = len(others), float(synthetic[-1]) * fit.unit_rate
    rank = min(int(np.ceil(level * (number + 1))), number)
    apart, own = (_apart(np.asarray(ratios, np.float64)) for ratios in (placebos, fit.ratio))
    by_chance = float(np.exp(np.sort(apart)[rank - 1]))
    lift, low, high = fit.ratio - 1, fit.ratio / by_chance - 1, fit.ratio * by_chance - 1
    names = panel.units[others]
    taken = pd.DataFrame({"unit": names, "weight": fit.weights})
    taken = taken[taken["weight"] > 1e-4].sort_values(["weight", "unit"], ascending=[False, True])
    left_out = [str(name) for row, name in enumerate(panel.units) if row != treated and row not in others]
    return SyntheticControl(
        unit=str(panel.units[treated]),
        lift=lift, low=low, high=high,
        effect=lift * without, effect_low=low * without, effect_high=high * without,
        level=rank / (number + 1),
        p=(1 + int((apart >= own).sum())) / (number + 1),
        pre_error=float(np.sqrt(np.mean((fit.index[treated] - synthetic)[:-1] ** 2))),
        weights=taken.reset_index(drop=True),
        path=_path(panel, panel.rates[treated], synthetic * fit.unit_rate),
        placebos=pd.DataFrame({"unit": names, "lift": placebos - 1}),
        left_out=tuple(left_out),
    )  # fmt: skip


def _apart(ratios: Floats) -> Floats:
    """Return how far ratios are from 1, up or down alike; endlessly far where a unit sold nothing."""
    with np.errstate(divide="ignore"):
        return np.abs(np.log(ratios))


def _path(panel: Panel, actual: Floats, synthetic: Floats) -> pd.DataFrame:
    last = len(panel.periods) - 1
    return pd.DataFrame(
        {
            "period": range(last + 1),
            "first_day": [period.first_day for period in panel.periods],
            "last_day": [period.last_day for period in panel.periods],
            "during": [number == last for number in range(last + 1)],
            "actual": actual,
            "synthetic": synthetic,
        }
    )
