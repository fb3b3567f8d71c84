"""A shop of a dozen items, and demand parts that forecast it well or too high by design, without any training."""

from __future__ import annotations

import dataclasses
import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from features.build import FeatureSet
from features.files import write_json
from features.panel.build import PanelSettings
from features.release import Part, ReleaseStore, layout, write_part
from features.settings import EngineSettings
from tests.features.model_features import build_model_features
from tests.features.tiny_shop import event, utc, write_shop
from tests.training.demand_worlds import small_config
from training.demand.config import DemandConfig
from training.demand.decisions.config import DecisionConfig
from training.demand.evaluated import EvaluatedModel, keep_evaluated
from training.demand.fit import RESULT_FILE, Windows
from training.demand.inputs.panel_inputs import PanelInputs
from training.demand.network.model import DemandModel

NUM_ITEMS, HORIZON = 12, 4
CONFIG = small_config(
    horizon=HORIZON,
    context_length=14,
    spans=(7, 14),
    level_span=14,
    min_history=7,
    hidden_size=8,
    max_steps=8,
    validate_every_steps=4,
    batch_size=16,
    validation_windows=1,
    test_windows=2,
    lead_time_days=2,
    checkpoint_every_steps=3,
    update_steps=4,
    decisions=DecisionConfig(what_if=False),
)


def build(root: Path, *, days: int, new_item: bool = False) -> Path:
    """Features of ``days`` days of Poisson sales; with ``new_item`` the codes of all items and brands move by one."""
    rng = np.random.default_rng(7)
    rates = 1.0 + np.arange(NUM_ITEMS)
    units = rng.poisson(rates, size=(200, NUM_ITEMS))[:days]  # the same history, however long
    events = [
        event("u", "purchase", at(day, item), f"i{item:02d}", quantity=int(units[day, item]), price=100)
        for day in range(days)
        for item in range(NUM_ITEMS)
        if units[day, item]
    ]
    items = [
        {"item_id": f"i{item:02d}", "category": f"c{item % 3}", "brand": f"b{item % 4}"} for item in range(NUM_ITEMS)
    ]
    if new_item:
        events += [event("u", "purchase", at(day, 30), "a-new", quantity=3, price=50) for day in range(days - 8, days)]
        items.append({"item_id": "a-new", "category": "a", "brand": "a"})
    data = write_shop(root / "data", events=events, items=items)
    panel = PanelSettings(min_purchases=5, horizon=HORIZON)
    build_model_features(data, root / "features", engine=EngineSettings(threads=1), panel=panel)
    return root / "features"


def at(day: int, item: int) -> dt.datetime:
    return utc("2024-03-01 10:00") + dt.timedelta(days=day, minutes=item)


def model_of(inputs: PanelInputs, config: DemandConfig, *, log_ratio: float, noise: float) -> DemandModel:
    """A network that forecasts each item's level, ``exp(log_ratio)`` times as high; with noise all else counts too."""
    torch.manual_seed(config.seed)
    model = DemandModel(inputs.sizes, config).eval()
    for member in model.members:
        for head in (member.head, member.total_head):
            with torch.no_grad():  # the middle third are the log means against the level
                head.project.bias[config.num_components : 2 * config.num_components] += log_ratio
                head.project.weight += noise * torch.randn_like(head.project.weight)
    return model


def train(
    store: Path,
    features: Path,
    run_id: str,
    *,
    log_ratio: float = 0.0,
    noise: float = 0.0,
    config: DemandConfig = CONFIG,
    evaluated: bool = True,
) -> Part:
    """Write what a training leaves: an evaluated part, a part with forecasts, and where its features stand."""
    found = FeatureSet.load(features)
    panel, run = found.panel, store / "runs" / run_id
    inputs = PanelInputs.from_panel(panel, config)
    if evaluated:
        model = model_of(inputs, config, log_ratio=log_ratio, noise=noise)
        kept = EvaluatedModel(model=model, inputs=inputs, calibration=None)
        windows = Windows.of(panel.num_periods, config)
        keep_evaluated(kept, found, run, seen_until=windows.seen_until, steps=4)
    with write_part(store, "demand", data_fingerprint=found.fingerprint, run_id=run_id) as draft:
        pd.DataFrame({"item_id": panel.item_ids}).to_parquet(draft.directory / layout.FORECASTS, index=False)
        last = panel.start + pd.Timedelta(days=panel.num_periods - 1)
        draft.about.update(as_of=str(last.date()), frequency="D", horizon=config.horizon)
        draft.about.update(settings=dataclasses.asdict(config), steps=4)
    write_json(run / RESULT_FILE, {"features": str(features)})
    part = ReleaseStore(root=store).part_of_run("demand", run_id)
    assert part is not None
    return part


def other(**changes: Any) -> DemandConfig:
    """The same settings but for some."""
    return dataclasses.replace(CONFIG, **changes)
