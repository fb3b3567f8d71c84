"""Write the report of a trained demand model: its held-out windows, and what it says lies ahead."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from features import columns as c
from features.build import FeatureSet
from features.errors import ConfigError
from features.files import write_json
from features.panel.demand_panel import DemandPanel
from features.release import Part, ReleaseStore, layout
from training.demand.backtesting.classes import CLASSES, demand_classes
from training.demand.fit import EXPERIMENT
from training.demand.measured import GATE, OURS
from training.evaluation import demand_details as details
from training.report.demand import write_demand_page
from training.tracking import tracked_run

REPORT_DIRECTORY: Final = "report"
NUM_ITEMS: Final = 20
_PAST_PERIODS: Final = {"D": 56, "W": 26}
_LABELS: Final = {OURS: "demand model"}
_PERIOD: Final = {"D": "day", "W": "week"}

log = logging.getLogger(__name__)


def evaluate_demand(features: Path, store: Path, *, run_id: str, seed: int = 0) -> dict[str, Any]:
    """Write ``demand.json`` and ``demand.html`` of a run, from what its training measured on held-out windows.

    The scored model learned before these windows; the part that is served learned from all data since.

    Args:
        features: feature directory that the run was trained on.
        store: release store; the report goes to ``runs/<run_id>/report``.
        run_id: MLflow run of a demand training; the report is logged to it.
        seed: of the choice of items shown.

    Returns:
        the path of the page, and the WQL of every forecaster.

    Raises:
        ConfigError: the run has no demand part, or was trained on other features.
    """
    found, part = FeatureSet.load(Path(features)), _part_of(Path(store), run_id)
    if part.data_fingerprint != found.fingerprint:
        raise ConfigError(
            f"{features}: expected the features that run {run_id} was trained on ({part.data_fingerprint[:12]}…), "
            f"found others ({found.fingerprint[:12]}…); name those."
        )
    report = demand_report(found, part, seed=seed)
    directory = Path(store) / "runs" / run_id / REPORT_DIRECTORY
    write_json(directory / "demand.json", report)
    page = directory / "demand.html"
    write_demand_page(page, report)
    with tracked_run(Path(store), EXPERIMENT, name="demand", run_id=run_id) as run:
        run.log_artifacts(directory, REPORT_DIRECTORY)
    log.info("report: %s", page)
    scores = {row["model"]: row["metrics"]["wql"] for row in report["models"]}
    return {"report": str(page), "run_id": run_id, "wql": scores}


def demand_report(found: FeatureSet, part: Part, *, seed: int) -> dict[str, Any]:
    """Return what the demand page shows, as JSON."""
    source = found.about.get("data", {})
    measured: Mapping[str, Any] = part.about.get("report") or {}
    settings: Mapping[str, Any] = part.about.get("settings", {})

    def title(item_id: str) -> str:
        return _title(found, item_id)

    return {
        "format": 1,
        "kind": "demand",
        "created_at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "git_revision": part.git_revision,
        "run_id": part.run_id,
        "part_version": part.version,
        "shop": found.shop.name,
        "ours": _label(OURS),
        "gate": _label(GATE),
        "data": {
            "source": source.get("source", "unknown"),
            "warning": source.get("warning", ""),
            "fingerprint": found.fingerprint,
        },
        "protocol": _protocol(found.panel, part, measured),
        "service_levels": [f"{100 * level:.0f}" for level in settings.get("service_levels", (0.9, 0.95))],
        "models": _models(measured),
        "pit": measured.get("pit"),
        "calibration": measured.get("calibration"),
        "classes": details.by_class(measured, _label),
        "buyers": details.by_buyers(measured, _label),
        "windows": details.by_window(measured, found.panel, _label),
        "steps": details.by_step(measured, _label),
        "service_curves": details.service_curves(measured, _label),
        "misses": details.misses(measured, found.panel, title),
        "effects": details.effects(found.panel),
        "alerts": details.alerts(part, title),
        "totals": details.totals(part, found.panel, periods=_PAST_PERIODS[found.panel.frequency]),
        "items": _items(found, part, seed=seed),
    }


def _part_of(store: Path, run_id: str) -> Part:
    part = ReleaseStore(root=store).part_of_run("demand", run_id)
    if part is None:
        raise ConfigError(f"run_id: expected a finished demand run of {store}, found {run_id!r}; train demand first.")
    return part


def _updates(part: Part) -> bool:
    """Whether the backtest updated weights at each origin; trainings of before there were updates did not."""
    return bool(part.about.get("settings", {}).get("update_steps", 0))


def _forecasters(part: Part) -> str:
    share = float(part.about.get("boosted_share", 0))
    if not share:
        return "the network"
    return f"the network and boosted trees, whose share of {share:.0%} the validation windows chose"


def _protocol(panel: DemandPanel, part: Part, measured: Mapping[str, Any]) -> dict[str, Any]:
    origins, horizon = list(measured.get("origins", ())), int(part.about["horizon"])
    period, step = _PERIOD[panel.frequency], pd.Timedelta(days=panel.period_days)
    starts = [f"{panel.start + origin * step:%-d %b %Y}" for origin in origins]
    moves = "weights, calibration and context" if _updates(part) else "calibration and context"
    draws = f"{measured['resamples']:,} draws of items" if "resamples" in measured else "over items"
    facts = {
        "Protocol": f"rolling origin: {len(origins)} windows of {horizon} {period}s, none of which overlap",
        "Windows begin": ", ".join(starts) or "no window was held out",
        "What the scored model learned from": f"everything before the first validation window; {moves} move on with each window",
        "What forecasts": _forecasters(part),
        "The model that is served": str(part.about.get("refitted_on", "the same")),
        "Intervals": f"95%, {draws}",
    }
    return {
        "num_items": panel.num_items,
        "num_windows": len(origins),
        "horizon": horizon,
        "period": period,
        "facts": facts,
    }


def _models(measured: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "model": _label(name),
            "metrics": values,
            "low": measured["wql_interval"][name][0],
            "high": measured["wql_interval"][name][1],
            "less_gate": measured["wql_less_gate"].get(name),
        }
        for name, values in measured.get("models", {}).items()
    ]


def _label(name: str) -> str:
    return _LABELS.get(name, name.replace("_", " "))


def _items(found: FeatureSet, part: Part, *, seed: int) -> list[dict[str, Any]]:
    """Return a few items of each class with their last units, what lies ahead, and when to order."""
    panel = found.panel
    ahead = pd.read_parquet(part.path(layout.FORECASTS))
    decisions = pd.read_parquet(part.path(layout.DECISIONS)).set_index(c.ITEM_ID)
    past = _PAST_PERIODS[panel.frequency]
    rows, classes = chosen_items(panel, seed=seed), demand_classes(panel.units)
    days = [day.date().isoformat() for day in panel.periods[-past:]]
    return [
        {
            "item_id": str(panel.item_ids[row]),
            "title": _title(found, str(panel.item_ids[row])),
            "class": str(classes[row]),
            "past_days": days,
            "past_units": [None if np.isnan(units) else float(units) for units in panel.units[row, -past:]],
            **_forecast(ahead[ahead[c.ITEM_ID] == panel.item_ids[row]]),
            "decision": _decision(decisions, str(panel.item_ids[row])),
        }
        for row in rows
    ]


def chosen_items(panel: DemandPanel, *, seed: int) -> npt.NDArray[np.int64]:
    """Return rows of items, the same number of each class of demand as far as it has them: half bestsellers, half drawn.

    Classes that are short of items leave their places to the shop's bestsellers. Best sellers come first.
    """
    sold = np.nansum(panel.units, axis=1)
    classes, rng = demand_classes(panel.units), np.random.default_rng(seed)
    present = [name for name in CLASSES if (classes == name).any()]
    share = NUM_ITEMS // max(1, len(present))
    picked: list[int] = []
    for name in present:
        rows = np.flatnonzero(classes == name)
        rows = rows[np.argsort(-sold[rows], kind="stable")]
        best = rows[: share - share // 2]
        picked += [*best, *rng.permutation(rows[len(best) :])[: share // 2]]
    order = np.argsort(-sold, kind="stable")
    picked += [row for row in order if row not in set(picked)][: NUM_ITEMS - len(picked)]
    rows = np.array(picked, np.int64)
    return rows[np.argsort(-sold[rows], kind="stable")]


def _forecast(rows: pd.DataFrame) -> dict[str, Any]:
    quantiles = {f"{level:.1f}": rows[layout.quantile_column(level)].tolist() for level in layout.QUANTILES}
    return {"days": [pd.Timestamp(day).date().isoformat() for day in rows[c.DAY]], "quantiles": quantiles}


def _decision(decisions: pd.DataFrame, item_id: str) -> dict[str, float] | None:
    if item_id not in decisions.index or "reorder_point_90" not in decisions:
        return None
    columns = {"reorder_point": "reorder_point_90", "lead_time_days": c.LEAD_TIME_DAYS}
    return {name: float(decisions[column].to_dict()[item_id]) for name, column in columns.items()}


def _title(found: FeatureSet, item_id: str) -> str:
    code = int(found.vocabulary.encode([item_id])[0])
    return str(found.catalog.title[code]) or item_id
