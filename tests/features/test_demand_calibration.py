import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from features.demand.calibration import DemandCalibration, LevelMap, PitBounds
from features.errors import DataError

WANTED = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)


class World:
    """Negative-binomial demand whose size is 2, forecast with a size of 2 x ``confidence``."""

    def __init__(self, *, items: int, windows: int, confidence: float, seed: int, periods: int = 7) -> None:
        rng = np.random.default_rng(seed)
        mean = rng.gamma(1, 5, (items, windows, periods)) + 0.1
        self.units = stats.nbinom.rvs(2, 2 / (2 + mean), random_state=rng)
        self.forecast = stats.nbinom(2 * confidence, 2 * confidence / (2 * confidence + mean))
        self.pit = PitBounds(low=self.forecast.cdf(self.units - 1), high=self.forecast.cdf(self.units))


def test_shares_when_counted_by_drawing_then_the_expected_ones():
    world = World(items=200, windows=2, confidence=3, seed=0)
    drawn = np.random.default_rng(1).uniform(world.pit.low, world.pit.high, (400, *world.units.shape))
    expected = {
        "pit80": ((drawn >= 0.1) & (drawn <= 0.9)).mean(),
        "pit_low": (drawn < 0.1).mean(),
        "pit_high": (drawn > 0.9).mean(),
    }
    assert world.pit.shares() == pytest.approx(expected, abs=2e-3)


def test_shares_when_a_count_is_impossible_or_unknown_then_its_place_or_nothing():
    # P(X < y) = P(X <= y) = 1: far above everything forecast; the second is unknown.
    pit = PitBounds(low=np.array([[[1.0, np.nan]]]), high=np.array([[[1.0, np.nan]]]))
    assert pit.shares() == {"pit80": 0.0, "pit_low": 0.0, "pit_high": 1.0}
    nothing = PitBounds(low=np.full((1, 1, 1), np.nan), high=np.full((1, 1, 1), np.nan))
    assert nothing.shares() == {"pit80": 0.0, "pit_low": 0.0, "pit_high": 0.0}


@pytest.mark.parametrize("confidence", [0.25, 4, 30])
def test_fit_when_the_forecaster_is_too_sure_or_too_humble_then_mended_on_new_draws(confidence):
    levels = LevelMap.fit(World(items=300, windows=2, confidence=confidence, seed=1).pit)
    new = World(items=600, windows=3, confidence=confidence, seed=2)
    raw, mended = new.pit.shares(), new.pit.through(levels).shares()
    assert abs(raw["pit80"] - 0.8) > 0.05
    assert mended == pytest.approx({"pit80": 0.8, "pit_low": 0.1, "pit_high": 0.1}, abs=0.012)
    # The smallest whole number that the map points to covers what is wanted, and no more than a whole unit allows.
    for wanted in (0.9, 0.95):
        points = new.forecast.ppf(levels.levels((wanted,))[0])
        assert (new.units <= points).mean() > wanted - 0.01
        assert (new.units < points).mean() < wanted + 0.01


@pytest.mark.parametrize("seed", range(4))
def test_fit_when_the_forecast_is_the_truth_then_as_it_was_within_noise(seed):
    levels = LevelMap.fit(World(items=300, windows=2, confidence=1, seed=seed).pit)
    assert levels.levels(WANTED) == pytest.approx(WANTED, abs=0.015)


def test_fit_when_there_is_little_data_then_nearer_to_the_identity():
    def departure(items: int) -> float:
        found = LevelMap.fit(World(items=items, windows=1, confidence=4, seed=5).pit).levels(WANTED)
        return float(np.abs(np.subtract(found, WANTED)).max())

    nothing = World(items=1, windows=1, confidence=4, seed=5).pit
    assert LevelMap.fit(nothing) == LevelMap()
    assert departure(3) < departure(300)


def test_fit_when_windows_contradict_each_other_then_not_trusted():
    # One window above all that was forecast, one below it: what the next will do nobody knows.
    low = np.zeros((50, 2, 1))
    low[:, 0] = 0.9
    assert LevelMap.fit(PitBounds(low=low, high=low + 0.1)).trust < 0.05


def test_fit_when_every_outcome_lies_in_one_place_then_the_map_still_rises():
    low = np.full((30, 2, 5), 0.4)
    levels = LevelMap.fit(PitBounds(low=low, high=low))
    assert (np.diff(levels.levels(WANTED)) > 0).all()


@settings(deadline=None, max_examples=40)
@given(
    confidence=st.floats(0.1, 50),
    items=st.integers(1, 30),
    windows=st.integers(1, 3),
    seed=st.integers(0, 10**6),
    wanted=st.lists(st.floats(1e-6, 1 - 1e-6), min_size=2, max_size=20, unique=True),
)
def test_levels_when_fitted_to_anything_then_rising_within_0_and_1_and_inverted_by_covered_at(
    confidence, items, windows, seed, wanted
):
    levels = LevelMap.fit(World(items=items, windows=windows, confidence=confidence, seed=seed, periods=3).pit)
    wanted = sorted(wanted)
    asked = np.array(levels.levels(wanted))
    assert (asked > 0).all()
    assert (asked < 1).all()
    assert (np.diff(asked) >= 0).all()
    assert levels.covered_at(asked) == pytest.approx(wanted, abs=1e-9)


def test_fit_when_asked_then_leaves_its_input_as_it_was():
    pit = World(items=20, windows=2, confidence=4, seed=0).pit
    low, high = pit.low.copy(), pit.high.copy()
    LevelMap.fit(pit)
    assert (pit.low == low).all()
    assert (pit.high == high).all()


def test_calibration_when_saved_and_loaded_then_equal(tmp_path):
    pit = World(items=40, windows=2, confidence=4, seed=0).pit
    calibration = DemandCalibration(total=LevelMap.fit(pit), level=-0.125)
    calibration.save(tmp_path / "calibration.json")
    found = DemandCalibration.load(tmp_path / "calibration.json")
    assert found == calibration
    assert found.levels((0.9,), of="period") == (0.9,)
    assert found.levels((0.9,), of="total")[0] > 0.9
    assert found.covered_at(np.array([0.9]), of="total")[0] < 0.9


@pytest.mark.parametrize("content", ["{}", '{"format": 3}', '{"format": 2, "period": {}, "total": {}}', "[]"])
def test_calibration_when_the_file_holds_something_else_then_says_so(content, tmp_path):
    path = tmp_path / "calibration.json"
    path.write_text(content)
    with pytest.raises(DataError, match=r"expected a demand calibration of format 2, found"):
        DemandCalibration.load(path)


def test_calibration_when_written_before_there_was_a_level_then_read_with_none(tmp_path):
    path = tmp_path / "calibration.json"
    DemandCalibration(total=LevelMap(asked=(0.9,), covered=(0.8,))).save(path)
    value = json.loads(path.read_text())
    del value["level"]
    path.write_text(json.dumps(value | {"format": 1}))
    found = DemandCalibration.load(path)
    assert found.level == 0
    assert found.levels((0.8,), of="total") == pytest.approx((0.9,))


def test_calibration_when_its_level_is_no_number_then_refused():
    with pytest.raises(DataError, match=r"expected a level that is a number, found nan"):
        DemandCalibration(level=float("nan"))


def test_fit_when_not_in_doubt_then_what_was_measured_is_believed():
    pit = World(items=40, windows=2, confidence=1, seed=0).pit
    assert LevelMap.fit(pit).trust < 1
    assert LevelMap.fit(pit, doubt=False).trust == 1


def test_level_map_when_its_points_do_not_rise_then_refused():
    with pytest.raises(DataError, match=r"LevelMap: expected as many asked as covered levels, both rising"):
        LevelMap(asked=(0.5, 0.9), covered=(0.6, 0.6))
    with pytest.raises(DataError, match=r"PitBounds: expected two arrays \[I, W, N\], found \(2,\)"):
        PitBounds(low=np.zeros(2), high=np.ones(2))
