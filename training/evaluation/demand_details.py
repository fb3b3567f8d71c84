"""What the demand page shows beside its headline: where forecasts hold, where they miss, and what to do today."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import pandas as pd

from features import columns as c
from features.panel.demand_panel import DemandPanel
from features.release import Part, layout
from training.demand.effects.promotions import promotion_effects
from training.demand.hierarchy import SHOP, groups_of

NUM_ALERTS: Final = 5  # of each kind, on the page
NUM_CATEGORIES: Final = 3
_CLASS_METRICS: Final = ("wql", "pit80")

Named = Callable[[str], str]


def by_class(measured: Mapping[str, Any], label: Named) -> list[dict[str, Any]]:
    """Return each class of demand with every forecaster's WQL and PIT, classes by their number of items."""
    tables: dict[str, Any] = {name: table["per_class"] for name, table in measured.get("tables", {}).items()}
    classes: Mapping[str, Any] = next(iter(tables.values()), {})
    rows = [
        {
            "class": kind,
            "num_items": int(found["num_series"]),
            "models": {
                label(name): {metric: table[kind].get(metric) for metric in _CLASS_METRICS}
                for name, table in tables.items()
            },
        }
        for kind, found in classes.items()
    ]
    return sorted(rows, key=lambda row: -row["num_items"])


def by_buyers(measured: Mapping[str, Any], label: Named) -> list[dict[str, Any]]:
    """Return, for each way to sort buyers, every forecaster's error by group; none of a run that did not measure it."""
    return [
        {
            "title": grouping["title"],
            "note": grouping["note"],
            "rows": [
                {
                    **row,
                    "label": row["label"].replace("_", " "),
                    "models": {label(n): v for n, v in row["models"].items()},
                }
                for row in grouping["rows"]
            ],
        }
        for grouping in measured.get("buyers", ())
        if grouping["rows"]
    ]


def by_window(measured: Mapping[str, Any], panel: DemandPanel, label: Named) -> dict[str, Any]:
    """Return each window's first day, and every forecaster's WQL in it."""
    tables = {name: table["per_window"] for name, table in measured.get("tables", {}).items()}
    step = pd.Timedelta(days=panel.period_days)
    starts = [f"{panel.start + window['origin'] * step:%-d %b %Y}" for window in next(iter(tables.values()), [])]
    return {
        "starts": starts,
        "wql": {label(name): [window.get("wql") for window in windows] for name, windows in tables.items()},
    }


def by_step(measured: Mapping[str, Any], label: Named) -> dict[str, list[float | None]]:
    """Return every forecaster's WQL for the first, second ... period ahead."""
    return {label(name): table["per_step"]["wql"] for name, table in measured.get("tables", {}).items()}


def service_curves(measured: Mapping[str, Any], label: Named) -> dict[str, list[dict[str, float]]]:
    """Return every forecaster's share of covered lead times by the units that its reorder points hold."""
    return {label(name): table["service_curve"] for name, table in measured.get("tables", {}).items()}


def misses(measured: Mapping[str, Any], panel: DemandPanel, title: Named) -> list[dict[str, Any]]:
    """Return the largest misses with what came before them, the days of their window, and names for people."""
    step = pd.Timedelta(days=panel.period_days)
    found = []
    for miss in measured.get("misses", ()):
        item_id, origin = str(panel.item_ids[miss["row"]]), miss["origin"]
        horizon = len(miss["units"])
        days = pd.date_range(panel.start, periods=origin + horizon, freq=step)
        past = slice(max(0, origin - 2 * horizon), origin)
        units = [float(one) if one == one else None for one in panel.units[miss["row"], past]]  # noqa: PLR0124 - NaN
        found.append(
            {
                **{name: miss[name] for name in ("sold", "expected", "loss_share", "quantiles")},
                "item_id": item_id,
                "title": title(item_id),
                "from": f"{days[origin]:%-d %b %Y}",
                "past_days": [day.date().isoformat() for day in days[past.start :]],
                "past_units": units + miss["units"],
                "days": [day.date().isoformat() for day in days[origin:]],
            }
        )
    return found


def alerts(part: Part, title: Named) -> dict[str, Any]:
    """Return the first alerts of each kind in the order of the part, their counts, and its notes."""
    if layout.ALERTS not in part.files:
        return {"kinds": [], "notes": []}
    frame = pd.read_parquet(part.path(layout.ALERTS))
    kinds = [
        {"kind": kind, "count": len(rows), "rows": [_alert(row, title) for row in rows[:NUM_ALERTS]]}
        for kind in frame["kind"].unique()
        if (rows := frame[frame["kind"] == kind].sort_values("rank").to_dict("records"))
    ]
    return {"kinds": kinds, "notes": list(part.about.get("alerts", {}).get("notes", ()))}


def _alert(row: Mapping[Any, Any], title: Named) -> dict[str, Any]:
    quantity, day = row["quantity"], row[c.DAY]
    return {
        "item_id": str(row[c.ITEM_ID]),
        "title": title(str(row[c.ITEM_ID])),
        "action": str(row["action"]).replace("_", " "),
        "quantity": None if pd.isna(quantity) else int(quantity),
        "day": None if pd.isna(day) else pd.Timestamp(day).date().isoformat(),
        "reason": str(row["reason"]),
    }


def totals(part: Part, panel: DemandPanel, *, periods: int) -> list[dict[str, Any]]:
    """Return the shop and its largest categories: units of the last periods, and the total that lies ahead."""
    if layout.TOTALS not in part.files:
        return []
    frame = pd.read_parquet(part.path(layout.TOTALS))
    whole = frame[frame[c.DAY].isna() & (frame["level"] == c.CATEGORY)].set_index("key")["mean"]
    groups, by_day = groups_of(panel), frame[frame[c.DAY].notna()]
    chosen = [(SHOP, SHOP), *((c.CATEGORY, str(key)) for key in whole.nlargest(NUM_CATEGORIES).index)]
    return [
        {
            "title": "The whole shop" if level == SHOP else key,
            "past_days": [day.date().isoformat() for day in panel.periods[-periods:]],
            "past_units": np.nansum(panel.units[groups[level] == key, -periods:], axis=0).tolist(),
            **_ahead(by_day[(by_day["level"] == level) & (by_day["key"] == key)]),
        }
        for level, key in chosen
    ]


def _ahead(rows: pd.DataFrame) -> dict[str, Any]:
    return {
        "days": [pd.Timestamp(day).date().isoformat() for day in rows[c.DAY]],
        "quantiles": {f"{level:.1f}": rows[layout.quantile_column(level)].tolist() for level in layout.QUANTILES},
    }


def effects(panel: DemandPanel) -> dict[str, Any]:
    """Return what promotions multiplied units by; no rows where the panel plans none."""
    return promotion_effects(panel).as_json()
