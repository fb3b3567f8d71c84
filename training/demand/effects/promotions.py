"""What promotions sell: units with a promotion over units without it, on the same item-days.

**The estimand.** Of the item-days that were promoted: units expected with the promotion, over units expected had that
item's promotion alone been left out on that day, everything before the day and all other promotions as they were. A
factor of 1.5 is half as many units again. It is what the promotion does on its days: what is pulled forward from later
weeks, and what is taken from other items, is not subtracted.

**The estimate.** A Poisson regression with an effect for each item and, by category, for each day (``poisson``): what is
compared is an item with itself, at the pace of its category. So it stays right when well-selling items or busy days are
the ones that are promoted, when most days are zero, and when days are missing. It is wrong where promotions follow an
item's own passing trend, as a clearance does.

**Sell-outs.** A day on which the shelf ran empty says "at least so many". Promoted days run empty more often, which
hides uplift. Where opening stock is given, days that opened with less than their expected sales may need are left out;
opening stock is settled before the day, so leaving them out chooses no outcome.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from features import columns as c
from features.errors import DataError
from features.panel.demand_panel import DemandPanel
from training.demand.effects.poisson import PoissonFit, fit_poisson
from training.demand.effects.table import Effect, EffectTable

Bools = npt.NDArray[np.bool_]

ANY: Final = "promotion"
PRICE_CUT: Final = "price cut"
NO_FLAGS: Final = frozenset(
    {"planned_price"}
)  # a price is planned on every day, or with the cut that is a flag already
FEW_ITEM_DAYS: Final = 30
FEW_DEGREES: Final = 5.0  # items' worth of evidence; below it, a 95% interval rests on a handful of items
LOST_SHARE: Final = 0.01  # of expected sales that a shelf may be too small for, on a day that takes part
STOCK_ROUNDS: Final = 2
LEVEL: Final = 0.95

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Promotions:
    """What was promoted, and how it is counted.

    Args:
        units: ``[I, T]``, NaN where nothing is known.
        kinds: item-days of each kind, bool ``[I, T]``; they may overlap.
        categories: top-level category of each item, str ``[I]``.
        stock: at opening, ``[I, T]``, NaN where unknown; ``None`` where not given.
    """

    units: npt.NDArray[np.floating]
    kinds: dict[str, Bools]
    categories: npt.NDArray[np.str_]
    stock: npt.NDArray[np.floating] | None

    @property
    def any(self) -> Bools:
        """Item-days with a promotion of any kind."""
        return np.logical_or.reduce(list(self.kinds.values()))


@dataclass(frozen=True, kw_only=True, eq=False)
class Estimate:
    """A row, and the item-days it is about: promoted so, and used in the regression, bool ``[I, T]``."""

    effect: Effect
    cells: Bools


def promotion_effects(
    panel: DemandPanel, *, flags: tuple[str, ...] | None = None, stock: npt.NDArray[np.floating] | None = None
) -> EffectTable:
    """Estimate what the panel's promotions multiplied units by.

    Rows: any promotion, for the whole shop; where there are several kinds, each kind with the others held apart
    (``display``, ``mailer``, ``price cut 20%``); and any promotion by top-level category.

    Args:
        panel: days or weeks.
        flags: columns of ``known_ahead`` that are promotions where they are above 0; the planned ones if ``None``.
            One called ``promotion`` is a share taken off the price, and is told apart by its depth.
        stock: units on the shelf at opening, ``[I, T]``, NaN where unknown: guards against sell-outs. The panel's own
            if ``None``.

    Raises:
        DataError: a flag is no column of the panel, or stock has another shape.
    """
    rows = tuple(one.effect for one in promotion_estimates(panel, flags=flags, stock=stock))
    log.info("promotion effects: %d rows from %d promoted item-days", len(rows), rows[0].num_item_days if rows else 0)
    if not rows:
        return EffectTable(rows=(), note="No promotion in the plan.")
    known = stock is not None or panel.opening_stock is not None
    note = "" if known else "Stock unknown: sell-outs on promoted days hide part of the uplift."
    return EffectTable(rows=rows, note=note)


def promotion_estimates(
    panel: DemandPanel, *, flags: tuple[str, ...] | None = None, stock: npt.NDArray[np.floating] | None = None
) -> list[Estimate]:
    """Return the rows of ``promotion_effects`` with the item-days behind them, for checks against a known truth."""
    data = _promotions(panel, flags, stock)
    if not data.kinds:
        return []
    found = _by_kind(data)
    names = np.unique(data.categories)
    if len(names) > 1:
        of_category = {str(name): data.categories == name for name in names}
        found += [_any_kind(data, rows, name) for name, rows in of_category.items() if data.any[rows].any()]
    return found


def _promotions(
    panel: DemandPanel, flags: tuple[str, ...] | None, stock: npt.NDArray[np.floating] | None
) -> _Promotions:
    names = tuple(name for name in panel.planned if name not in NO_FLAGS) if flags is None else flags
    stock = panel.opening_stock if stock is None else stock
    missing = [name for name in names if name not in panel.known_ahead]
    if missing:
        raise DataError(f"promotion_effects: expected flags among {[*panel.known_ahead]}, found {missing}.")
    if stock is not None and stock.shape != panel.units.shape:
        raise DataError(f"promotion_effects: expected stock of {panel.units.shape}, found {stock.shape}.")
    paths = panel.static.get(c.CATEGORY, np.full(panel.num_items, "", object))
    return _Promotions(
        units=panel.units,
        kinds=dict(_kinds(panel, names)),
        categories=np.array([str(path).split("/")[0] for path in paths], str),
        stock=stock,
    )


def _kinds(panel: DemandPanel, names: tuple[str, ...]) -> Iterator[tuple[str, Bools]]:
    """Yield each kind of promotion that occurs; price cuts by their depth in tens of per cent."""
    for name in names:
        values = np.nan_to_num(np.asarray(panel.known_ahead[name][:, : panel.num_periods]))
        if name != c.PROMOTION or values.max(initial=0) > 1:
            kinds = {name: values > 0}
        else:
            depth = np.where(values > 0, np.clip(np.round(10 * values), 1, 9), 0).astype(np.int64)
            kinds = {f"{PRICE_CUT} {10 * tens}%": depth == tens for tens in np.unique(depth[depth > 0])}
        yield from ((kind, cells) for kind, cells in kinds.items() if cells.any())


def _by_kind(data: _Promotions) -> list[Estimate]:
    """Return any promotion, then each kind with the others held apart, for the whole shop; from one regression.

    The uplift of any promotion is that of all its item-days together, ``sum(mean) / sum(mean without)``. Kinds differ
    (a tenth off, a third off on display); to fit them apart keeps what they differ by out of the interval.
    """
    everywhere = np.ones(len(data.units), bool)
    if len(data.kinds) == 1:
        return [_any_kind(data, everywhere, None)]
    x = np.stack(list(data.kinds.values()), axis=2).astype(np.float64)
    fit = _fit(data, x, everywhere)
    weights = np.eye(x.shape[2])
    kinds = [_estimate(name, None, fit, weights=weights[k], cells=x[:, :, k] > 0) for k, name in enumerate(data.kinds)]
    if np.isnan(fit.beta).any():
        return [_any_kind(data, everywhere, None), *kinds]
    cells = data.any & fit.used
    mean, chosen = fit.mean[cells], x[cells]
    uplift = np.log(mean.sum() / (mean * np.exp(-chosen @ fit.beta)).sum())
    slope = mean @ chosen / mean.sum()
    return [_estimate(ANY, None, fit, weights=slope, cells=data.any, log_uplift=float(uplift)), *kinds]


def _any_kind(data: _Promotions, items: Bools, category: str | None) -> Estimate:
    """Return one factor for any promotion of some items."""
    fit = _fit(data, data.any[:, :, None].astype(np.float64), items)
    return _estimate(ANY, category, fit, weights=np.ones(1), cells=data.any & items[:, None])


def _fit(data: _Promotions, x: npt.NDArray[np.float64], items: Bools) -> PoissonFit:
    """Fit some items; then leave out days that opened with too little for what is expected of them, and fit again."""
    units = np.where(items[:, None], data.units, np.nan)
    groups = np.unique(data.categories, return_inverse=True)[1]
    fit = fit_poisson(units, x, groups)
    if data.stock is None:
        return fit
    for _ in range(STOCK_ROUNDS):
        enough = np.isnan(data.stock) | (lost_share(data.stock, fit.mean) <= LOST_SHARE)
        fit = fit_poisson(np.where(enough, units, np.nan), x, groups)
    return fit


def lost_share(stock: npt.NDArray[np.floating], mean: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Return the share of Poisson demand that a shelf cannot serve: ``E[max(D - stock, 0)] / mean``; 0 without demand.

    ``E[max(D - s, 0)] = mean P(D >= s) - s P(D >= s + 1)``; with one unit for a mean of 1, that is exp(-1).

    >>> lost_share(np.array([1.0, 4.0]), np.array([1.0, 1.0])).round(4).tolist()
    [0.3679, 0.0044]
    """
    s, m = np.nan_to_num(stock, nan=0.0), np.maximum(mean, 1e-12)

    def at_least(count: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        return np.where(count <= 0, 1.0, special.pdtrc(np.maximum(count - 1, 0), m))

    lost = (m * at_least(s) - s * at_least(s + 1)) / m
    return np.where(mean > 0, np.maximum(lost, 0.0), 0.0)


def _estimate(
    name: str,
    category: str | None,
    fit: PoissonFit,
    *,
    weights: npt.NDArray[np.float64],
    cells: Bools,
    log_uplift: float | None = None,
) -> Estimate:
    """Return the row of ``weights . beta``, or of ``log_uplift`` with that gradient."""
    told = cells & fit.used
    known = bool(np.isfinite(fit.beta[weights != 0]).all())
    centre = log_uplift if log_uplift is not None else float(np.nan_to_num(fit.beta) @ weights)
    degrees = max(fit.degrees_of(weights), 1.0) if known else 0.0
    error = float(np.sqrt(weights @ np.nan_to_num(fit.covariance) @ weights))
    reach = float(stats.t.ppf((1 + LEVEL) / 2, degrees)) * error if known else 0.0
    low, middle, high = (float(np.exp(centre + sign * reach)) if known else None for sign in (-1, 0, 1))
    effect = Effect(
        name=name,
        category=category,
        uplift=middle,
        low=low,
        high=high,
        num_item_days=int(told.sum()),
        num_items=int(told.any(axis=1).sum()),
        note=_note(known, int(told.sum()), degrees),
    )
    return Estimate(effect=effect, cells=told)


def _note(known: bool, num_item_days: int, degrees: float) -> str:
    if not known:
        return "Cannot be told: never sold with it, or on all items at once, or always together with another kind."
    if num_item_days < FEW_ITEM_DAYS:
        return f"Few: {num_item_days} item-days; expect the figure to move."
    if degrees < FEW_DEGREES:
        return "A few items make up most of it; expect the figure to move."
    return ""
