"""Items' demand under other plans: what the network says, beside the plan as it is."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from features import columns as c
from features.demand.count_mixture import CountMixture
from features.release import Part
from features.release.layout import QUANTILES
from serving.api.demand_schemas import DemandTotal, PlanChange, PlannedDemand
from serving.demand.forecast_rows import DIGITS, LEVELS, forecast_periods, rounded
from serving.demand.plan_changes import PlanCalendar, apply_change, check_plan, warnings_of
from serving.demand.plan_network import PlanNetwork

Decisions = Mapping[str, Mapping[str, Any]]

_PERIOD_DAYS: Final = {"D": 1, "W": 7}
_REORDER_POINT: Final = "reorder_point_"


@dataclass(frozen=True, kw_only=True, eq=False)
class WhatIf:
    """Answers questions about other plans.

    Args:
        network: of the part.
        calendar: the periods ahead.
        review_days: what an order has to last beyond its lead time.
    """

    network: PlanNetwork
    calendar: PlanCalendar
    review_days: int

    @classmethod
    def load(cls, part: Part) -> WhatIf | None:
        """Open a demand part's network; ``None`` where the part holds none."""
        network = PlanNetwork.load(part)
        if network is None:
            return None
        calendar = PlanCalendar(
            first_day=dt.date.fromisoformat(str(part.about["as_of"])) + dt.timedelta(days=1),
            period_days=_PERIOD_DAYS[str(part.about["frequency"])],
            horizon=network.horizon,
        )
        review = part.about.get("settings", {}).get("decisions", {}).get("review_days", 0)
        return cls(network=network, calendar=calendar, review_days=int(review))

    def check(self, changes: Sequence[PlanChange]) -> None:
        """Refuse what cannot be asked, before any of it is computed.

        Raises:
            RequestError: a column is unknown, a value cannot be, or a day lies outside the horizon.
        """
        for number, change in enumerate(changes):
            check_plan(f"what_if[{number}]", change.plan, self.network.columns)
            self.calendar.check(f"what_if[{number}]", change)

    def answer(self, changes: Sequence[PlanChange], decisions: Decisions, *, periods: int) -> list[PlannedDemand]:
        """Return each item's first ``periods`` under its change, beside the plan as it is.

        Args:
            changes: checked, and of items that the network knows.
            decisions: of items by id, under the plan as it is.
            periods: how many are answered, 1 .. H.
        """
        if not changes:
            return []
        rows = np.array([self.network.rows[change.item_id] for change in changes], np.int64)
        planned = self.network.plans(rows)
        plans, spans = planned.copy(), [self.calendar.periods_of(change) for change in changes]
        for plan, change, span in zip(plans, changes, spans, strict=True):
            apply_change(plan, change, self.network.columns, span)
        once, first, at_once = np.unique(rows, return_index=True, return_inverse=True)
        # Both plans at once; each item as it is planned a single time, however often it is asked about.
        single, totals = self.network.forecast(np.concatenate([rows, once]), np.concatenate([plans, planned[first]]))
        changed = single.at(slice(len(changes)), slice(periods))
        levels = self.network.calibration.levels(QUANTILES, of="period")
        means, quantiles, days = changed.mean, changed.quantiles(levels), self.calendar.days[:periods]
        both = self._totals(totals.at(slice(None), periods - 1), days=periods * self.calendar.period_days)
        orders = self._orders(totals.at(slice(len(changes))), [decisions.get(change.item_id) for change in changes])
        return [
            PlannedDemand(
                item_id=change.item_id,
                from_day=change.from_day or self.calendar.first_day,
                until_day=change.until_day or self.calendar.last_day,
                plan=change.plan,
                forecast=forecast_periods(days, means[at], quantiles[at]),
                total=both[at],
                total_as_planned=both[len(changes) + at_once[at]],
                decision=orders[at],
                warnings=warnings_of(change, plans[at], self.network.columns, row=int(rows[at]), periods=spans[at]),
            )
            for at, change in enumerate(changes)
        ]

    def _totals(self, totals: CountMixture, *, days: int) -> list[DemandTotal]:
        units = rounded(totals.quantiles(self.network.calibration.levels(QUANTILES, of="total"))).tolist()
        means = rounded(totals.mean).tolist()
        return [
            DemandTotal(days=days, mean=mean, quantiles=dict(zip(LEVELS, row, strict=True)))
            for mean, row in zip(means, units, strict=True)
        ]

    def _orders(
        self, totals: CountMixture, as_planned: Sequence[Mapping[str, Any] | None]
    ) -> list[dict[str, float | str] | None]:
        """Return each item's orders under its change; ``None`` where its lead time lies beyond the horizon."""
        known = np.array([at for at, one in enumerate(as_planned) if one is not None], np.int64)
        orders: list[dict[str, float | str] | None] = [None] * len(as_planned)
        if not len(known):
            return orders
        present = [one for one in as_planned if one is not None]
        names = [name for name in present[0] if name.startswith(_REORDER_POINT)]
        levels = [float(name.removeprefix(_REORDER_POINT)) / 100 for name in names]
        lead_days = np.array([int(one[c.LEAD_TIME_DAYS]) for one in present])
        asked = self.network.calibration.levels(levels, of="total")
        lead = totals.at(known, self._periods(lead_days) - 1)
        until = self._periods(lead_days + self.review_days)
        tops = totals.at(known, np.minimum(until, self.calendar.horizon) - 1).quantiles(asked)
        means, points = lead.mean, lead.quantiles(asked)
        on_hand = np.array([one.get("on_hand", np.nan) for one in present], np.float64)
        covered = self.network.calibration.covered_at(lead.cdf(on_hand), of="total")
        for at, row in enumerate(known):
            order: dict[str, float | str] = {c.LEAD_TIME_DAYS: int(lead_days[at]), "lead_mean": _short(means[at])}
            order |= dict(zip(names, points[at].tolist(), strict=True))
            if until[at] <= self.calendar.horizon:
                tops_of = dict(zip(names, tops[at].tolist(), strict=True))
                order |= {name.replace(_REORDER_POINT, "order_up_to_"): units for name, units in tops_of.items()}
            if np.isfinite(on_hand[at]):
                order |= {"on_hand": on_hand[at].item(), "stockout_risk": _short(1 - covered[at])}
            orders[row] = order
        return orders

    def _periods(self, days: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return -(-days // self.calendar.period_days)


def _short(value: float) -> float:
    return round(float(value), DIGITS)
