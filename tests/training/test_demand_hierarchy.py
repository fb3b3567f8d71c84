"""Joint samples: each item's own distribution, totals that add up, and the spread of a shop that moves together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from features.demand.calibration import DemandCalibration, PitBounds
from features.errors import DataError
from features.release import layout
from tests.training.demand_worlds import poisson_panel, small_config
from training.demand.forecast import forecast
from training.demand.hierarchy import JointSamples, joint_samples, past_origins, totals_frame, write_totals
from training.demand.inputs.panel_inputs import PanelInputs
from training.demand.network.distributions import CountMixture
from training.demand.network.model import DemandModel

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def poisson(mean: np.ndarray) -> CountMixture:
    """One component of so large a size that it is Poisson."""
    return CountMixture(
        log_weight=torch.zeros(*mean.shape, 1),
        log_mean=torch.log(torch.from_numpy(mean)).float()[..., None],
        log_size=torch.full((*mean.shape, 1), 12.0),
    )


def negative_binomial(mean: np.ndarray, size: float) -> CountMixture:
    one = poisson(mean)
    return CountMixture(
        log_weight=one.log_weight, log_mean=one.log_mean, log_size=torch.full_like(one.log_size, np.log(size))
    )


def shop_days(rng: np.random.Generator, mean: np.ndarray, windows: int, *, shock: float) -> np.ndarray:
    """Units ``[windows, I, H]``: each day's shock multiplies all items alike, gamma with mean 1 and variance shock."""
    together = rng.gamma(1 / shock, shock, (windows, 1, mean.shape[1]))
    return rng.poisson(mean * together)


def places(units: np.ndarray, mean: np.ndarray, size: float) -> PitBounds:
    """Where units lay in negative binomials that know each item's spread, but of no shock: ``[I, W, H]``."""
    of = stats.nbinom(size, size / (size + mean))
    return PitBounds(low=np.moveaxis(of.cdf(units - 1), 0, 1), high=np.moveaxis(of.cdf(units), 0, 1))


def test_totals_when_days_lift_all_items_together_then_ours_cover_and_independent_ones_do_not() -> None:
    rng, shock = np.random.default_rng(0), 0.04
    mean = rng.uniform(1.0, 10.0, (60, 7))
    forecast = negative_binomial(mean, 1 / shock)  # of each item, this is the true distribution
    covered = {"ours": [], "independent": []}  # type: dict[str, list[float]]
    for _ in range(12):
        past = places(shop_days(rng, mean, 20, shock=shock), mean, 1 / shock)
        nothing = PitBounds(low=past.low[:, :0], high=past.high[:, :0])
        future = shop_days(rng, mean, 50, shock=shock).sum(axis=1)  # [50, H]
        for name, known in (("ours", past), ("independent", nothing)):
            samples = joint_samples(forecast, known, num_samples=200, seed=1)
            low, high = np.quantile(samples.units.sum(axis=1), (0.1, 0.9), axis=0)
            covered[name].append(float(((future >= low) & (future <= high)).mean()))
    assert np.mean(covered["ours"]) == pytest.approx(0.8, abs=0.05)
    assert np.mean(covered["independent"]) < 0.5


def test_samples_when_items_are_taken_alone_then_they_follow_their_own_forecast() -> None:
    rng = np.random.default_rng(0)
    mean = np.array([[0.3, 2.0], [5.0, 40.0]])
    past = places(shop_days(rng, mean, 8, shock=0.1), mean, 10.0)
    forecast = poisson(mean)
    units = joint_samples(forecast, past, num_samples=4000, seed=0).units
    for i, h in np.ndindex(2, 2):
        counts = np.bincount(units[:, i, h]).cumsum() / 4000
        exact = stats.poisson(mean[i, h]).cdf(np.arange(len(counts)))
        assert np.abs(counts - exact).max() < 0.03


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 6), st.integers(1, 4), st.integers(0, 3), st.integers(0, 10_000))
def test_totals_when_summed_over_groups_then_they_add_up_exactly(
    items: int, horizon: int, windows: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    mean = rng.uniform(0.1, 5.0, (items, horizon))
    low = rng.random((items, windows, horizon)) * 0.5
    low[rng.random(low.shape) < 0.2] = np.nan
    samples = joint_samples(poisson(mean), PitBounds(low=low, high=low + 0.3), num_samples=7, seed=seed)
    keys = rng.integers(0, 3, items)
    parts = [samples.of(keys == key) for key in range(3)]
    whole, whole_mean = samples.of(np.ones(items, bool))
    np.testing.assert_array_equal(sum(units for units, _ in parts), whole)
    np.testing.assert_allclose(sum(found for _, found in parts), whole_mean, rtol=1e-12)
    np.testing.assert_array_equal(samples.units.sum(axis=1), whole)
    assert samples.units.shape == (7, items, horizon)


def test_frame_when_levels_are_compared_then_means_add_up_and_quantiles_rise() -> None:
    rng = np.random.default_rng(0)
    samples = JointSamples(units=rng.poisson(3.0, (50, 4, 2)).astype(np.int32), mean=np.full((4, 2), 3.0))
    groups = {"shop": np.full(4, "shop", object), "brand": np.array(["a", "a", "", "b"], object)}
    days = list(pd.date_range("2024-01-01", periods=2))
    frame = totals_frame(samples, groups, days)
    assert frame["level"].value_counts().to_dict() == {"brand": 9, "shop": 3}
    by_day = frame[frame["day"].notna()].groupby(["level", "day"])["mean"].sum()
    assert by_day.tolist() == [12.0] * 4
    whole = frame[frame["day"].isna()].groupby("level")["mean"].sum()
    assert whole.to_dict() == {"brand": 24.0, "shop": 24.0}
    quantiles = frame[[f"q{level:.1f}" for level in LEVELS]].to_numpy()
    assert (np.diff(quantiles, axis=1) >= 0).all()
    shop = frame[(frame["level"] == "shop") & frame["day"].isna()]["q0.5"].item()
    assert shop == np.sort(samples.units.sum(axis=(1, 2)))[24]  # the smallest that half of the 50 samples reach


def test_totals_when_written_then_each_level_adds_up_to_the_items_forecasts(tmp_path: Path) -> None:
    panel = poisson_panel()
    config = small_config(hidden_size=8, num_threads=1)
    inputs = PanelInputs.from_panel(panel, config)
    torch.manual_seed(0)
    model = DemandModel(inputs.sizes, config).eval()
    calibration = DemandCalibration(level=0.2)
    write_totals(tmp_path, model, panel, inputs, calibration)
    frame = pd.read_parquet(tmp_path / layout.TOTALS)
    items = forecast(model, inputs, panel.num_periods, calibration=calibration).mean.sum(axis=0, dtype=np.float64)
    for level in ("shop", "category"):
        by_day = frame[(frame["level"] == level) & frame["day"].notna()].groupby("day")["mean"].sum()
        np.testing.assert_allclose(by_day, items, rtol=1e-5)
    assert sorted(frame["key"].unique()) == ["c0", "c1", "c2", "shop"]
    assert list(frame.columns) == ["level", "key", "day", "mean", *(f"q{level:.1f}" for level in LEVELS)]


def test_inverse_cdf_when_levels_are_the_same_in_all_cells_then_it_is_the_quantiles() -> None:
    forecast = poisson(np.random.default_rng(0).uniform(0.1, 30, (5, 3)))
    levels = torch.tensor(LEVELS, dtype=torch.float64)
    torch.testing.assert_close(forecast.inverse_cdf(levels.expand(5, 3, 9)), forecast.quantiles(LEVELS))


def test_past_origins_when_listed_then_windows_end_before_the_forecast_on_the_same_weekday() -> None:
    found = past_origins(200, horizon=10, season=7, first=28)
    assert max(found) + 10 <= 200
    assert {(200 - origin) % 7 for origin in found} == {0}
    assert len(found) == 23  # 186, 179, ..., 32
    assert past_origins(30, horizon=14, season=7, first=28) == ()


def test_samples_when_the_past_is_of_other_items_then_it_says_so() -> None:
    past = PitBounds(low=np.zeros((3, 2, 2)), high=np.ones((3, 2, 2)))
    with pytest.raises(DataError, match="expected past windows of items and periods"):
        joint_samples(poisson(np.ones((2, 2))), past)
