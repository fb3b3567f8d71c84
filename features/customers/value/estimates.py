"""What is expected of each buyer, as of one day: purchases, the chance to be lost, value.

buyers, at most ``MOST_LEARNED_FROM`` of them   ->  ValueModel.fit    in one place
all buyers, batch after batch                   ->  ValueModel.of     wherever their rows are
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import duckdb
import numpy as np
import pyarrow as pa

from features import columns as c
from features.customers.settings import ValueSettings
from features.customers.value.buyers import Buyers, learned_from, learned_from_earlier
from features.customers.value.churn import ChurnRisk, MeanBuyer
from features.customers.value.forecast import PurchaseForecast, Window
from features.customers.value.gamma_gamma import GammaGamma
from features.customers.value.histories import Floats, Histories
from features.customers.value.purchase_days import buyers
from features.customers.workbench import Frame
from features.errors import DataError

ESTIMATES: Final = (
    "expected_purchases",
    "probability_alive",
    "customer_lifetime_value",
    "churn_risk",
)
ESTIMATES_SCHEMA: Final = pa.schema([(c.USER_ID, pa.string()), *((name, pa.float64()) for name in ESTIMATES)])
_STEP_DAYS: Final = 30.0
_YEAR_DAYS: Final = 365.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class ValueModel:
    """What a shop's buyers teach; says of any buyer what is expected, whoever is asked about beside it.

    Args:
        settings: how far ahead.
        forecast: of purchases; ``None`` where too few bought again to say anything.
        churn: the risk's model.
        mean: the mean buyer of today.
        spend: of a purchase; ``None`` where no price is known.
        margin: the shop's share of a purchase that is left after costs; ``None`` where no item's cost is known.
    """

    settings: ValueSettings
    forecast: PurchaseForecast | None = None
    churn: ChurnRisk | None = None
    mean: MeanBuyer = field(default_factory=MeanBuyer)
    spend: GammaGamma | None = None
    margin: float | None = None

    @classmethod
    def fit(cls, now: Buyers, earlier: Buyers, *, settings: ValueSettings, as_of: dt.date) -> ValueModel:
        """Learn from buyers as of today, and from what came since ``settings.horizon_days`` ago.

        In a shop where too few have bought again nothing is said, and the log says why.

        Args:
            now: buyers by today.
            earlier: buyers by the earlier day, with what ``came`` since.
            settings: how far ahead.
            as_of: today, for the log.
        """
        horizon = float(settings.horizon_days)
        window = Window(histories=earlier.histories, came=earlier.floats("num_came"), days=horizon)
        try:
            forecast = PurchaseForecast.fit(now.histories, window=window)
        except DataError as reason:
            logger.warning("customer value: left out as of %s: %s", as_of, reason)
            return cls(settings=settings)
        return cls(
            settings=settings,
            forecast=forecast,
            churn=_churn(earlier, window, horizon),
            mean=MeanBuyer.of(now.histories),
            spend=_spend(now),
            margin=_margin(now),
        )

    def of(self, now: Buyers) -> dict[str, Floats]:
        """Return what is expected of buyers as of today, ``[N]`` each, as in ``ESTIMATES``; NaN where it cannot be said."""
        values = {name: np.full(len(now.histories), np.nan) for name in ESTIMATES}
        if self.forecast is None or self.churn is None or not len(now.histories):
            return values
        horizon = float(self.settings.horizon_days)
        values["expected_purchases"] = self.forecast.expected(now.histories, days=horizon)
        values["probability_alive"] = self.forecast.alive(now.histories)
        values["churn_risk"] = self.churn.of(now.churn_facts(self.forecast.leaving, days=horizon, mean=self.mean))
        if self.spend is not None:
            number = now.floats("num_days")
            spend = self.spend.expected(number, now.floats("amount") / number)
            purchases = discounted_purchases(self.forecast, now.histories, self.settings)
            values["customer_lifetime_value"] = purchases * spend * self._margins(now)
        return values

    def batches(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield ``of`` each batch of buyers, as ``ESTIMATES_SCHEMA``."""
        for batch in batches:
            rows = Buyers.of(pa.Table.from_batches([batch]))
            values = [pa.array(values, from_pandas=True) for values in self.of(rows).values()]
            yield pa.record_batch([rows.user_id.cast(pa.string()), *values], schema=ESTIMATES_SCHEMA)

    def _margins(self, now: Buyers) -> Floats:
        """Return the share of a purchase that is left: a buyer's own, the shop's where it has none."""
        costed, cost = now.floats("costed_amount"), now.floats("cost")
        if self.margin is None:
            return np.ones(len(costed))
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(costed > 0, 1 - cost / costed, self.margin)


def fit_value(
    days: Frame,
    *,
    as_of: dt.date,
    settings: ValueSettings,
    trend_days: int,
    to_arrow: Callable[[Frame], pa.Table],
) -> ValueModel:
    """Return what the buyers up to ``as_of`` teach; nothing later is looked at.

    Args:
        days: from ``purchase_days``, of any engine; kept, as it is read several times.
        as_of: the day of looking.
        settings: how far ahead.
        trend_days: of the windows that churn goes by.
        to_arrow: fetches a frame of at most ``MOST_LEARNED_FROM`` buyers.
    """
    now = learned_from(days, as_of=as_of, trend_days=trend_days, to_arrow=to_arrow)
    earlier = learned_from_earlier(
        days, as_of=as_of, horizon=settings.horizon_days, trend_days=trend_days, to_arrow=to_arrow
    )
    return ValueModel.fit(now, earlier, settings=settings, as_of=as_of)


@dataclass(frozen=True, kw_only=True, eq=False)
class Estimates:
    """What is expected, ``[N]`` each; NaN where it cannot be said.

    Args:
        user_id: sorted.
        values: name -> ``[N]``, as in ``ESTIMATES``.
        model: what they come from.
    """

    user_id: Any
    values: dict[str, Floats]
    model: ValueModel

    def to_arrow(self) -> pa.Table:
        """Return user_id and the estimates, missing where they are NaN."""
        arrays = [pa.array(values, from_pandas=True) for values in self.values.values()]
        return pa.table([pa.array(self.user_id, pa.string()), *arrays], schema=ESTIMATES_SCHEMA)


def estimate(
    days: duckdb.DuckDBPyRelation, *, as_of: dt.date, settings: ValueSettings, trend_days: int = 90
) -> Estimates:
    """Return what is expected of each buyer up to ``as_of``, all of them in memory.

    Args:
        days: from ``purchase_days``.
        as_of: the day of looking; nothing later is looked at.
        settings: how far ahead.
        trend_days: of the windows that churn goes by.
    """
    model = fit_value(
        days,
        as_of=as_of,
        settings=settings,
        trend_days=trend_days,
        to_arrow=lambda frame: frame.to_arrow_table(),
    )
    now = Buyers.of(buyers(days, as_of=as_of, trend_days=trend_days).to_arrow_table().sort_by(c.USER_ID))
    return Estimates(user_id=now.user_id.to_numpy(zero_copy_only=False), values=model.of(now), model=model)


def _churn(earlier: Buyers, window: Window, horizon: float) -> ChurnRisk:
    try:
        forecast = PurchaseForecast.fit(earlier.histories)
    except DataError:
        return ChurnRisk(logit=None, days=horizon, num_lost=0, num_buyers=0)
    facts = earlier.churn_facts(forecast.leaving, days=horizon, mean=MeanBuyer.of(earlier.histories))
    return ChurnRisk.fit(facts, window.came, days=horizon)


def _spend(now: Buyers) -> GammaGamma | None:
    number = now.floats("num_days")
    try:
        return GammaGamma.fit(number, now.floats("amount") / number)
    except DataError as reason:
        logger.warning("customer value: no lifetime value: %s", reason)
        return None


def _margin(now: Buyers) -> float | None:
    costed, cost = now.floats("costed_amount").sum(), now.floats("cost").sum()
    if costed <= 0:
        logger.info("customer value: of revenue, as no item's cost is known")
        return None
    return float(1 - cost / costed)


def discounted_purchases(forecast: PurchaseForecast, histories: Histories, settings: ValueSettings) -> Floats:
    """Return purchases of the lifetime's days, each counted less the later it is expected, ``[N]``."""
    ends = np.append(np.arange(_STEP_DAYS, settings.lifetime_days, _STEP_DAYS), float(settings.lifetime_days))
    total, before, start = np.zeros(len(histories)), np.zeros(len(histories)), 0.0
    for end, by_end in zip(ends, forecast.expected_by(histories, days=ends.tolist()), strict=True):
        years = (start + end) / 2 / _YEAR_DAYS
        total += (by_end - before) * (1 + settings.discount_percent / 100) ** -years
        before, start = by_end, float(end)
    return total
