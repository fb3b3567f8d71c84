"""What is expected of each buyer, as of one day: purchases, the chance to be lost, value."""

from __future__ import annotations

import datetime as dt
import logging
from dataclasses import dataclass
from typing import Any, Final

import duckdb
import numpy as np
import pyarrow as pa

from features import columns as c
from features.customers.settings import ValueSettings
from features.customers.value.churn import ChurnRisk, churn_facts, silent_chance
from features.customers.value.forecast import PurchaseForecast, Window
from features.customers.value.gamma_gamma import GammaGamma
from features.customers.value.histories import Floats, Histories
from features.customers.value.purchase_days import buyers, came
from features.errors import DataError

ESTIMATES: Final = (
    "expected_purchases",
    "probability_alive",
    "customer_lifetime_value",
    "churn_risk",
)
_STEP_DAYS: Final = 30.0
_YEAR_DAYS: Final = 365.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Buyers:
    """Buyers as of one day: columns as in ``purchase_days.buyers``, by user_id, and their histories.

    Args:
        columns: name -> ``[N]``.
        histories: N rows.
    """

    columns: dict[str, Any]
    histories: Histories

    @classmethod
    def read(cls, days: duckdb.DuckDBPyRelation, *, as_of: dt.date, trend_days: int) -> Buyers:
        """Read those who had bought by ``as_of``."""
        table = buyers(days, as_of=as_of, trend_days=trend_days).order(c.USER_ID).to_arrow_table()
        columns = {name: table[name].to_numpy() for name in table.column_names}
        histories = Histories.from_days(
            num_days=columns["num_days"],
            first_days_ago=columns["first_days_ago"],
            last_days_ago=columns["last_days_ago"],
        )
        return cls(columns=columns, histories=histories)

    def floats(self, name: str) -> Floats:
        """Return a column, ``[N]``."""
        return np.asarray(self.columns[name], np.float64)

    def churn_facts(self, forecast: PurchaseForecast, *, days: float) -> Floats:
        """Return what churn goes by, ``[N, 7]``."""
        silent = silent_chance(forecast.leaving, self.histories, days=days)
        return churn_facts(
            self.histories, month_days=self.floats("month_days"), trend_days=self.floats("trend_now"), silent=silent
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Estimates:
    """What is expected, ``[N]`` each; NaN where it cannot be said.

    Args:
        user_id: sorted.
        values: name -> ``[N]``, as in ``ESTIMATES``.
        forecast: of purchases; ``None`` where too few bought again.
        churn: the risk's model.
    """

    user_id: Any
    values: dict[str, Floats]
    forecast: PurchaseForecast | None
    churn: ChurnRisk | None

    def to_arrow(self) -> pa.Table:
        """Return user_id and the estimates, missing where they are NaN."""
        arrays = {name: pa.array(values, from_pandas=True) for name, values in self.values.items()}
        return pa.table({c.USER_ID: pa.array(self.user_id, pa.string()), **arrays})


def estimate(
    days: duckdb.DuckDBPyRelation, *, as_of: dt.date, settings: ValueSettings, trend_days: int = 90
) -> Estimates:
    """Return what is expected of each buyer up to ``as_of``; nothing later is looked at.

    In a shop where too few have bought again all is missing, and the log says why.

    Args:
        days: from ``purchase_days``.
        as_of: the day of looking.
        settings: how far ahead.
        trend_days: of the windows that churn goes by.
    """
    now = Buyers.read(days, as_of=as_of, trend_days=trend_days)
    horizon = float(settings.horizon_days)
    earlier, window = _window(days, as_of=as_of, horizon=settings.horizon_days, trend_days=trend_days)
    values = {name: np.full(len(now.histories), np.nan) for name in ESTIMATES}
    try:
        forecast = PurchaseForecast.fit(now.histories, window=window)
    except DataError as reason:
        logger.warning("customer value: left out as of %s: %s", as_of, reason)
        return Estimates(user_id=now.columns[c.USER_ID], values=values, forecast=None, churn=None)
    values["expected_purchases"] = forecast.expected(now.histories, days=horizon)
    values["probability_alive"] = forecast.alive(now.histories)
    churn = _churn(earlier, window, horizon)
    values["churn_risk"] = churn.of(now.churn_facts(forecast, days=horizon))
    values["customer_lifetime_value"] = _lifetime_value(now, forecast, settings)
    return Estimates(user_id=now.columns[c.USER_ID], values=values, forecast=forecast, churn=churn)


def _window(days: duckdb.DuckDBPyRelation, *, as_of: dt.date, horizon: int, trend_days: int) -> tuple[Buyers, Window]:
    """Return those who had bought by ``horizon`` days ago, and what came since."""
    then = as_of - dt.timedelta(days=horizon)
    earlier = Buyers.read(days, as_of=then, trend_days=trend_days)
    found = came(days, after=then, until=as_of).to_arrow_table().to_pydict()
    since = dict(zip(found[c.USER_ID], found["num_came"], strict=True))
    counts = np.array([since.get(user, 0) for user in earlier.columns[c.USER_ID]], np.float64)
    return earlier, Window(histories=earlier.histories, came=counts, days=float(horizon))


def _churn(earlier: Buyers, window: Window, horizon: float) -> ChurnRisk:
    try:
        forecast = PurchaseForecast.fit(earlier.histories)
    except DataError:
        return ChurnRisk(logit=None, days=horizon, num_lost=0, num_buyers=0)
    return ChurnRisk.fit(earlier.churn_facts(forecast, days=horizon), window.came, days=horizon)


def _lifetime_value(now: Buyers, forecast: PurchaseForecast, settings: ValueSettings) -> Floats:
    """Return discounted money of the purchases to come, minor units; margin where costs are known, else revenue."""
    number, amount = now.floats("num_days"), now.floats("amount")
    mean = amount / number
    try:
        spend = GammaGamma.fit(number, mean).expected(number, mean)
    except DataError as reason:
        logger.warning("customer value: no lifetime value: %s", reason)
        return np.full(len(number), np.nan)
    return discounted_purchases(forecast, now.histories, settings) * spend * _margin(now)


def discounted_purchases(forecast: PurchaseForecast, histories: Histories, settings: ValueSettings) -> Floats:
    """Return purchases of the lifetime's days, each counted less the later it is expected, ``[N]``."""
    ends = np.append(np.arange(_STEP_DAYS, settings.lifetime_days, _STEP_DAYS), float(settings.lifetime_days))
    total, before, start = np.zeros(len(histories)), np.zeros(len(histories)), 0.0
    for end, by_end in zip(ends, forecast.expected_by(histories, days=ends.tolist()), strict=True):
        years = (start + end) / 2 / _YEAR_DAYS
        total += (by_end - before) * (1 + settings.discount_percent / 100) ** -years
        before, start = by_end, float(end)
    return total


def _margin(now: Buyers) -> Floats:
    """Return the share of a purchase that is left after costs: a buyer's own, the shop's where it has none, else 1."""
    costed, cost = now.floats("costed_amount"), now.floats("cost")
    if costed.sum() <= 0:
        logger.info("customer value: of revenue, as no item's cost is known")
        return np.ones(len(costed))
    shop = 1 - cost.sum() / costed.sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(costed > 0, 1 - cost / costed, shop)
