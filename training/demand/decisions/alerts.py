"""What a merchandiser should look at today: what to order, to protect, to mark down, and what rises.

Items are ranked within their own shop, and an item enters only if the forecast's distribution says so; no threshold is
a number of units. Orders and protection need a count of stock: without one they are absent, and the notes say why.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from features import columns as c
from features.panel.demand_panel import DemandPanel
from training.demand.config import DemandConfig
from training.demand.decisions.item_facts import ItemFacts
from training.demand.decisions.orders import TotalDistribution, level_name, period_days
from training.demand.forecast import Forecast

KINDS: Final = ("reorder_now", "protect", "slow_mover", "riser")
COLUMNS: Final = ("kind", "rank", c.ITEM_ID, "action", "quantity", c.DAY, "reason")

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.floating]


def alert_frame(
    panel: DemandPanel, forecast: Forecast, facts: ItemFacts, decisions: pd.DataFrame, config: DemandConfig
) -> tuple[pd.DataFrame, list[str]]:
    """Return the alerts, most urgent first within each kind, and what the reader must know of them.

    Args:
        panel: units of the past, and the plan.
        forecast: from the panel's end.
        facts: of the items.
        decisions: as ``decision_frame`` has them.
        config: horizon, service level, and the shares that alerts are about.

    Returns:
        ``kind, rank (1 first), item_id, action, quantity (units; blank where unknown), day, reason``; and notes.
    """
    view = _View.of(panel, forecast, facts, decisions, config)
    rows: list[dict[str, Any]] = []
    for kind, find in _FINDERS.items():
        found = find(view)[: config.decisions.max_alerts]
        rows += [{"kind": kind, "rank": rank, **row} for rank, row in enumerate(found, start=1)]
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).astype({"rank": "int32", "quantity": "Int64"})
    return frame, _notes(facts)


def _notes(facts: ItemFacts) -> list[str]:
    if not facts.stock_note:
        return []
    which = "are absent" if np.isnan(facts.on_hand).all() else "leave some items out"
    return [
        f"Alerts to reorder and to protect {which}: {facts.stock_note}. Give stock in the inventory table, by item and day."
    ]


@dataclass(frozen=True, kw_only=True, eq=False)
class _View:
    """Everything that alerts are judged by, ``[I]`` each.

    Args:
        decisions: ``decision_frame`` by panel row; items without one have blanks.
        expected: units over the horizon.
        recent: units a period over the last ``span`` periods with data.
        sold: units in them.
        settled: known for the whole span, so that a new item is neither slow nor a riser.
        chance_above_recent: that the horizon sells more than at the recent rate.
        chance_none: that it sells nothing.
        planned: something is announced for the horizon.
    """

    panel: DemandPanel
    config: DemandConfig
    facts: ItemFacts
    decisions: pd.DataFrame
    span: int
    expected: Floats
    recent: Floats
    sold: Floats
    settled: Bools
    chance_above_recent: Floats
    chance_none: Floats
    planned: Bools

    @classmethod
    def of(
        cls, panel: DemandPanel, forecast: Forecast, facts: ItemFacts, decisions: pd.DataFrame, config: DemandConfig
    ) -> _View:
        totals, horizon = forecast.totals, forecast.mean.shape[1]
        assert isinstance(totals, TotalDistribution), "alerts need more of a total than its quantiles"
        span = min(config.level_span, panel.num_periods)
        units = np.asarray(panel.units)[:, -span:]
        seen, sold = np.isfinite(units).sum(axis=1), np.nansum(units, axis=1)
        recent, whole = sold / np.maximum(seen, 1), np.full(panel.num_items, horizon)
        return cls(
            panel=panel,
            config=config,
            facts=facts,
            decisions=decisions.set_index(c.ITEM_ID).reindex(panel.item_ids).reset_index(),
            span=span,
            expected=forecast.mean.sum(axis=1),
            recent=recent,
            sold=sold,
            settled=np.isfinite(np.asarray(panel.units)[:, : panel.num_periods - span + 1]).any(axis=1) & (seen > 0),
            chance_above_recent=1 - totals.total_cdf(whole, np.floor(recent * horizon)),
            chance_none=totals.total_cdf(whole, np.zeros(panel.num_items)),
            planned=_planned(panel, horizon),
        )

    @property
    def days(self) -> int:
        """Days of the horizon."""
        return self.config.horizon * self.panel.period_days

    @property
    def first_day(self) -> Any:
        """First day ahead."""
        return period_days(self.panel, 1)[0].date()

    @property
    def span_days(self) -> int:
        """Days of the span that recent rates are taken over."""
        return self.span * self.panel.period_days

    def column(self, name: str) -> Floats:
        """Return a column of the decisions, NaN where blank."""
        return self.decisions[name].astype("Float64").to_numpy(np.float64, na_value=np.nan)

    def level_column(self, name: str) -> Floats:
        """Return a column of the decisions for the service level of the alerts."""
        return self.column(f"{name}_{level_name(self.config.decisions.service_level)}")

    def among(self, score: Floats, share: float, eligible: Bools) -> Bools:
        """Return which items are in the shop's top ``share`` by score, out of those eligible."""
        rows = np.flatnonzero(eligible)
        count = round(share * len(rows))
        chosen = np.zeros(len(score), bool)
        chosen[rows[np.argsort(-score[rows], kind="stable")[:count]]] = True
        return chosen

    def item(self, row: int) -> str:
        """Return an item's id."""
        return str(self.panel.item_ids[row])


def _planned(panel: DemandPanel, horizon: int) -> Bools:
    ahead = [np.asarray(panel.known_ahead[name])[:, panel.num_periods :][:, :horizon] for name in panel.planned]
    return np.any([values != 0 for values in ahead], axis=(0, 2)) if ahead else np.zeros(panel.num_items, bool)


def _ranked(chosen: Bools, urgency: Floats) -> list[int]:
    rows = np.flatnonzero(chosen)
    return [int(row) for row in rows[np.argsort(-urgency[rows], kind="stable")]]


def _reorder(view: _View) -> list[dict[str, Any]]:
    """Items whose stock is at or below the reorder point."""
    on_hand, point, top = view.facts.on_hand, view.level_column("reorder_point"), view.level_column("order_up_to")
    target = np.where(np.isnan(top), point, top)
    risk, level = view.column("stockout_risk"), view.config.decisions.service_level
    due = view.facts.active & (on_hand <= point) & (target > on_hand)
    lead = view.facts.lead_time_days

    def reason(row: int) -> str:
        return (
            f"{on_hand[row]:.0f} on hand, the reorder point for a lead time of {lead[row]} days is {point[row]:.0f} "
            f"({level:.0%} service); order {target[row] - on_hand[row]:.0f} to reach {target[row]:.0f}"
            f"{' at least: how long an order has to last lies beyond the horizon' if np.isnan(top[row]) else ''}. Without "
            f"an order under way, stock runs out before a delivery can arrive with {risk[row]:.0%} chance."
        )

    return [
        _row(view, row, "order", reason(row), quantity=target[row] - on_hand[row])
        for row in _ranked(due, np.nan_to_num(risk) + _tie(view.expected))
    ]


def _protect(view: _View) -> list[dict[str, Any]]:
    """Bestsellers that are likely to run out before a delivery can arrive."""
    settings = view.config.decisions
    risk, on_hand, lead_mean = view.column("stockout_risk"), view.facts.on_hand, view.column("lead_mean")
    best = view.among(view.expected, settings.bestseller_share, view.facts.active)
    chosen = best & (risk >= settings.protect_risk)
    out, lead = view.decisions["runs_out_on"], view.facts.lead_time_days

    def reason(row: int) -> str:
        when = "" if pd.isna(out[row]) else f" by {out[row].date()}"
        return (
            f"Among the best-selling {settings.bestseller_share:.0%} ({view.expected[row]:.1f} units expected in "
            f"{view.days} days). {on_hand[row]:.0f} on hand run out{when}; a delivery ordered now takes {lead[row]} days, and "
            f"stock runs out before it with {risk[row]:.0%} chance. Hold back its promotion, show what replaces it."
        )

    return [
        _row(
            view,
            row,
            "protect",
            reason(row),
            quantity=max(1.0, np.round(lead_mean[row] - on_hand[row])),
            day=None if pd.isna(out[row]) else out[row].date(),
        )
        for row in _ranked(chosen, view.expected)
    ]


def _slow(view: _View) -> list[dict[str, Any]]:
    """The slowest items: what is too much of them, or that nobody asks for them at all."""
    on_hand, settings = view.facts.on_hand, view.config.decisions
    needed = view.level_column("order_up_to")
    too_much = on_hand - np.where(np.isnan(needed), view.expected, needed)
    dead = (view.sold == 0) & (view.chance_none >= 0.5)
    slow = view.among(-view.expected, settings.slow_share, view.facts.active & view.settled)
    chosen = slow & (dead | np.isnan(on_hand) | (too_much > 0))
    cover = view.column("days_of_cover")

    def reason(row: int) -> str:
        held = "" if np.isnan(on_hand[row]) else f" {on_hand[row]:.0f} on hand"
        lasting = f"{held} last about {cover[row]:.0f} days." if held and np.isfinite(cover[row]) else f"{held}."
        return (
            f"Among the slowest {settings.slow_share:.0%}: {view.expected[row]:.2f} units expected in {view.days} days, "
            f"{view.sold[row]:.0f} sold in the last {view.span_days}.{lasting if held else ''}"
        )

    def quantity(row: int) -> float:
        return float(on_hand[row] if dead[row] else np.maximum(too_much[row], 0))

    return [
        _row(view, row, "delist" if dead[row] else "mark_down", reason(row), quantity=quantity(row))
        for row in _ranked(chosen, np.nan_to_num(too_much) - _tie(view.expected))
    ]


def _riser(view: _View) -> list[dict[str, Any]]:
    """Items that will very likely sell more than they lately did."""
    settings, gain = view.config.decisions, view.expected - view.recent * view.config.horizon
    sure = (view.chance_above_recent >= settings.riser_chance) & (gain > 0)
    eligible = view.facts.active & view.settled
    chosen = view.among(gain, settings.riser_share, eligible) & sure

    def reason(row: int) -> str:
        usual = view.recent[row] * view.config.horizon
        times = f"{view.expected[row] / usual:.1f} times" if usual > 0 else "after none"
        cause = " Something is announced for these days." if view.planned[row] else ""
        return (
            f"{view.expected[row]:.1f} units expected in {view.days} days, {times} the {usual:.1f} of its rate over the last "
            f"{view.span_days} days; more than that with {view.chance_above_recent[row]:.0%} chance.{cause}"
        )

    return [
        _row(view, row, "stock_up", reason(row), quantity=max(1.0, np.round(gain[row])))
        for row in _ranked(chosen, gain)
    ]


def _row(view: _View, row: int, action: str, reason: str, *, quantity: float, day: Any = None) -> dict[str, Any]:
    return {
        c.ITEM_ID: view.item(row),
        "action": action,
        "quantity": None if np.isnan(quantity) else int(quantity),
        c.DAY: day or view.first_day,
        "reason": reason,
    }


def _tie(expected: Floats) -> Floats:
    """Return what breaks ties: the bigger seller first, never as much as what it is added to."""
    return expected / (1 + expected.max(initial=0)) * 1e-6


_FINDERS: Final[dict[str, Callable[[_View], list[dict[str, Any]]]]] = dict(
    zip(KINDS, (_reorder, _protect, _slow, _riser), strict=True)
)
