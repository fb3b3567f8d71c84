import dataclasses

import numpy as np
import pytest
import torch

from features.errors import ConfigError, DataError
from features.panel.demand_panel import DemandPanel
from tests.training.demand_worlds import HORIZON, NUM_ITEMS, NUM_PERIODS, poisson_panel, small_config
from training.demand.inputs.history import PrefixSums
from training.demand.inputs.panel_inputs import PanelInputs
from training.demand.inputs.windows import Windows
from training.demand.network.model import DemandModel
from training.demand.network.module import draw_windows

CONFIG = small_config()
ITEMS = torch.arange(NUM_ITEMS)


def windows_at(panel: DemandPanel, origin: int) -> Windows:
    return PanelInputs.from_panel(panel, CONFIG).windows(ITEMS, torch.full_like(ITEMS, origin))


def fields(windows: Windows) -> dict[str, torch.Tensor]:
    return {field.name: getattr(windows, field.name) for field in dataclasses.fields(windows)}


def test_windows_when_the_future_is_garbage_then_forecasts_are_identical():
    panel, origin = poisson_panel(), 120
    units, views = panel.units.copy(), panel.observed["num_views"].copy()
    units[:, origin:] = 777.0
    views[:, origin:] = np.nan
    garbled = dataclasses.replace(panel, units=units, observed={"num_views": views})
    honest, fooled = windows_at(panel, origin), windows_at(garbled, origin)
    for name, tensor in fields(honest).items():
        assert torch.equal(tensor, fields(fooled)[name]), name
    torch.manual_seed(0)
    model = DemandModel(PanelInputs.from_panel(panel, CONFIG).sizes, CONFIG).eval()
    for ours, theirs in zip(model(honest), model(fooled), strict=True):
        assert torch.equal(ours.log_mean, theirs.log_mean)
        assert torch.equal(ours.log_size, theirs.log_size)


def test_windows_when_the_panel_is_cut_at_the_origin_then_the_same():
    panel = poisson_panel()
    cut = panel.as_known_at(120)
    for name, tensor in fields(windows_at(panel, 120)).items():
        assert torch.equal(tensor, fields(windows_at(cut, 120))[name]), name


def test_windows_when_gathered_one_by_one_then_equal_to_the_batch():
    inputs = PanelInputs.from_panel(poisson_panel(), CONFIG)
    items, origins = torch.tensor([3, 0, 7]), torch.tensor([1, 30, NUM_PERIODS])
    batch = fields(inputs.windows(items, origins))
    model = DemandModel(inputs.sizes, CONFIG).eval()
    together = model(inputs.windows(items, origins))[0].mean
    for row in range(3):
        one = inputs.windows(items[row : row + 1], origins[row : row + 1])
        for name, tensor in fields(one).items():
            assert torch.equal(tensor[0], batch[name][row]), name
        torch.testing.assert_close(model(one)[0].mean[0], together[row])


def test_windows_when_a_day_is_missing_then_it_is_not_a_zero():
    panel = poisson_panel()
    missing, zero = panel.units.copy(), panel.units.copy()
    missing[5, 100], zero[5, 100] = np.nan, 0.0
    without, with_zero = (windows_at(dataclasses.replace(panel, units=units), 110) for units in (missing, zero))
    back = 42 - (110 - 100)  # where day 100 stands in a context of 42 days before day 110
    assert not without.context_mask[5, back]
    assert with_zero.context_mask[5, back]
    assert without.level[5] > with_zero.level[5]


def test_targets_when_the_horizon_passes_the_end_then_masked():
    inputs = PanelInputs.from_panel(poisson_panel(), CONFIG)
    found = inputs.targets(torch.tensor([1]), torch.tensor([NUM_PERIODS - 2]), until=NUM_PERIODS)
    assert torch.isfinite(found).tolist() == [[True] * 2 + [False] * (HORIZON - 2)]
    assert torch.isnan(inputs.targets(torch.tensor([1]), torch.tensor([50]), until=50)).all()


def test_plan_when_announced_late_then_unknown_at_earlier_origins():
    panel = poisson_panel()
    width = NUM_PERIODS + HORIZON
    promotion = np.ones((NUM_ITEMS, width), np.float32)
    promotion[0] = 0  # else it would be the same for all items, and so calendar
    panel = dataclasses.replace(
        panel,
        known_ahead={"promotion": promotion},
        planned=("promotion",),
        announced_ahead=np.full((NUM_ITEMS, width), 3, np.int16),
    )
    # Announced 3 days ahead: at any origin, days 0, 1 and 2 of the horizon are known.
    plan = windows_at(panel, 100).horizon_plan[1, :, -1]
    assert (plan > 0).tolist() == [True] * 3 + [False] * (HORIZON - 3)
    assert (windows_at(panel, 100).context_plan[1, :, -1] > 0).all()


def test_inputs_when_the_plan_is_too_short_then_says_how_long_it_must_be():
    with pytest.raises(DataError, match="expected a plan for 9 further periods, found 7"):
        PanelInputs.from_panel(poisson_panel(), small_config(horizon=9))


def test_inputs_when_built_then_the_panel_is_as_it_was():
    panel = poisson_panel()
    before = panel.units.copy()
    PanelInputs.from_panel(panel, CONFIG)
    np.testing.assert_array_equal(panel.units, before)


def test_draw_windows_when_asked_twice_then_the_same_and_other_steps_differ():
    first = draw_windows(NUM_ITEMS, CONFIG, fit_until=100, step=5)
    again = draw_windows(NUM_ITEMS, CONFIG, fit_until=100, step=5)
    other = draw_windows(NUM_ITEMS, CONFIG, fit_until=100, step=6)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])
    assert int(first[1].min()) >= CONFIG.min_history
    assert int(first[1].max()) < 100


def test_prefix_sums_when_compared_with_loops_then_equal():
    rng = np.random.default_rng(0)
    units = rng.integers(0, 4, (3, 30)).astype(float)
    units[1, 4:9] = np.nan
    plan, observed = rng.random((3, 30, 2)), rng.random((3, 30, 1))
    sums = PrefixSums.build(units, plan=plan, observed=observed, season=7)
    seen = np.isfinite(units)
    for item in range(3):
        for start, stop in ((0, 30), (2, 11), (5, 6)):
            span = slice(start, stop)
            found = sums.within(*(torch.tensor(value) for value in (item, start, stop)))
            assert float(found.sold) == pytest.approx(np.nansum(units[item, span]))
            assert float(found.seen) == seen[item, span].sum()
            assert float(found.nonzero) == (units[item, span] > 0).sum()
            sold = np.nan_to_num(units[item, span])
            np.testing.assert_allclose(found.plan_units, (plan[item, span] * sold[:, None]).sum(0))
        for origin in (1, 9, 30):
            mean, count = sums.same_phase(torch.tensor([item]), torch.tensor([origin]), torch.arange(9), cycles=3)
            for step in range(9):
                first = origin + step % 7
                past = [p for p in (first - 7, first - 14, first - 21) if p >= 0 and seen[item, p]]
                assert float(count[0, step]) == len(past)
                assert float(mean[0, step]) == pytest.approx(np.mean(units[item, past]) if past else 0)


def test_config_when_a_setting_is_wrong_then_named():
    with pytest.raises(ConfigError, match=r"dropout: expected a share in \[0, 1\), found 1.5"):
        small_config(dropout=1.5)
    with pytest.raises(ConfigError, match="batch_size: expected a multiple of num_members"):
        small_config(batch_size=10, num_members=4)
