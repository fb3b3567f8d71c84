import dataclasses
import json
from typing import Literal

import numpy as np
import pandas as pd
import pytest
import torch

from features.errors import DataError
from features.panel.demand_panel import DemandPanel
from tests.training.demand_worlds import small_config
from training.demand.inputs.input_layout import InputLayout
from training.demand.inputs.last_year import LastYear
from training.demand.inputs.panel_inputs import PanelInputs

YEAR = {"D": 364, "W": 52}
WEEK = {"D": 7, "W": 1}
SPAN, STEPS = 8, 4
NUM_ITEMS = 6
CONFIG = small_config(horizon=STEPS, spans=(2, 4), level_span=SPAN, context_length=6, hidden_size=16)
ITEMS = torch.arange(NUM_ITEMS)
NOTHING_HIDDEN = torch.zeros(NUM_ITEMS, dtype=torch.bool)


def panel_of(frequency: Literal["D", "W"], num_periods: int) -> DemandPanel:
    """Two categories of three items; item 0 is launched late, and item 1 has holes."""
    rng = np.random.default_rng(0)
    units = rng.poisson(20, (NUM_ITEMS, num_periods)).astype(np.float32)
    units[0, : num_periods // 2] = np.nan
    units[1, rng.random(num_periods) < 0.3] = np.nan
    return DemandPanel(
        item_ids=np.array([f"item-{number}" for number in range(NUM_ITEMS)], object),
        start=pd.Timestamp("2024-01-01"),
        frequency=frequency,
        units=units,
        known_ahead={"holiday": np.zeros((NUM_ITEMS, num_periods + STEPS), np.float32)},
        observed={},
        static={"category": np.array(["a", "a", "a", "b", "b", "b"], object)},
    )


def last_year_of(panel: DemandPanel) -> LastYear:
    found = PanelInputs.from_panel(panel, CONFIG).last_year
    assert found is not None
    return found


def features_at(panel: DemandPanel, origin: int) -> torch.Tensor:
    steps = torch.arange(STEPS)
    return last_year_of(panel).features(ITEMS, torch.full_like(ITEMS, origin), steps, hidden=NOTHING_HIDDEN)


def mean_of(units: np.ndarray, start: int, stop: int) -> float | None:
    """Mean of what is known of some items' periods together, by a loop."""
    known = [float(value) for row in units for value in row[max(0, start) : max(0, stop)] if np.isfinite(value)]
    return float(np.mean(known)) if known else None


def ratios_of(units: np.ndarray, origin: int, step: int, frequency: str) -> list[float]:
    then, week, found = origin - YEAR[frequency], WEEK[frequency], []
    usual = mean_of(units, then - SPAN, then)
    for shift in (-1, 0, 1):
        first = then + step + shift * week - week // 2
        mean = mean_of(units, first, first + week)
        found.append(0.0 if mean is None or usual is None else float(np.log((mean + 1) / (usual + 1))))
    return found


@pytest.mark.parametrize("frequency", ["D", "W"])
def test_last_year_when_compared_with_loops_then_equal(frequency: Literal["D", "W"]) -> None:
    year = YEAR[frequency]
    panel = panel_of(frequency, 2 * year + 10)
    for origin in (year + SPAN - 1, year + SPAN, 2 * year, 2 * year + 10):
        found = features_at(panel, origin)
        watched = origin - year >= SPAN
        for item in range(NUM_ITEMS):
            own, group = panel.units[[item]], panel.units[:3] if item < 3 else panel.units[3:]
            usual, now = mean_of(own, origin - year - SPAN, origin - year), mean_of(own, origin - SPAN, origin)
            there = watched and usual is not None
            growth = np.log(((now or 0) + 1) / (usual + 1)) if there else 0.0
            for step in range(STEPS):
                mine = ratios_of(own, origin, step, frequency) if there else [0.0] * 3
                around = [
                    *ratios_of(panel.units, origin, step, frequency),
                    *ratios_of(group, origin, step, frequency),
                ]
                expected = [*mine, growth, float(there), *(around if watched else [0.0] * 6), float(watched)]
                np.testing.assert_allclose(found[item, step].numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("frequency", ["D", "W"])
def test_windows_when_the_future_of_a_long_panel_is_garbage_then_the_same(frequency: Literal["D", "W"]) -> None:
    panel = panel_of(frequency, 2 * YEAR[frequency] + 10)
    for origin in (YEAR[frequency] + SPAN, panel.num_periods - STEPS):
        units = panel.units.copy()
        units[:, origin:] = 777.0
        one, other = (
            PanelInputs.from_panel(each, CONFIG).windows(ITEMS, torch.full_like(ITEMS, origin))
            for each in (panel, dataclasses.replace(panel, units=units))
        )
        for field in dataclasses.fields(one):
            assert torch.equal(getattr(one, field.name), getattr(other, field.name)), field.name


def test_last_year_when_a_past_is_hidden_then_only_the_groups_speak() -> None:
    panel, origin = panel_of("W", 110), torch.full_like(ITEMS, 100)
    hidden = torch.ones(NUM_ITEMS, dtype=torch.bool)
    found = last_year_of(panel).features(ITEMS, origin, torch.arange(STEPS), hidden=hidden)
    assert not found[..., :5].any()
    assert torch.equal(found[..., 5:], features_at(panel, 100)[..., 5:])


def test_last_year_when_the_panel_is_short_or_the_horizon_long_then_none() -> None:
    assert PanelInputs.from_panel(panel_of("W", 103), CONFIG).last_year is None
    assert PanelInputs.from_panel(panel_of("D", 727), CONFIG).last_year is None
    long = PanelInputs.from_panel(panel_of("W", 110), CONFIG)
    asked = {"frequency": "W", "span": SPAN}
    assert LastYear.of(long.sums, long.peers, horizon=50, **asked) is not None
    assert LastYear.of(long.sums, long.peers, horizon=51, **asked) is None


def test_layout_when_learnt_without_last_year_then_a_longer_panel_is_read_without_it() -> None:
    short, long = panel_of("D", 700), panel_of("D", 740)
    layout = InputLayout.of(short, PanelInputs.from_panel(short, CONFIG))
    written = json.loads(json.dumps(dataclasses.asdict(layout)))
    assert layout == InputLayout.from_dict(written)
    del written["last_year"]  # as written before there was one
    inputs = InputLayout.from_dict(written).inputs_from(long, CONFIG)
    assert inputs.last_year is None
    assert inputs.sizes == PanelInputs.from_panel(short, CONFIG).sizes


def test_layout_when_learnt_with_last_year_then_a_shorter_panel_is_refused() -> None:
    long = panel_of("D", 740)
    layout = InputLayout.of(long, PanelInputs.from_panel(long, CONFIG))
    with pytest.raises(DataError, match="with last_year True, found False"):
        layout.inputs_from(panel_of("D", 700), CONFIG)
