"""Where a forecaster was furthest off, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from features.demand.calibration import PitBounds
from features.release.layout import QUANTILES
from training.demand.backtesting.backtest import Backtest
from training.demand.backtesting.misses import biggest_misses


def backtest_of(actual: np.ndarray, said: float) -> Backtest:
    """All quantiles and the mean say the same, so that the pinball loss is the absolute error."""
    shape = actual.shape
    nothing = np.full(shape[:2], np.nan)
    return Backtest(
        origins=tuple(range(10, 10 + shape[1])),
        actual=actual,
        mean=np.full(shape, said),
        quantiles=np.full((*shape, len(QUANTILES)), said),
        pit=PitBounds(low=np.zeros(shape), high=np.ones(shape)),
        lead_total=nothing,
        levels=(),
        reorder_points=np.zeros((*shape[:2], 0)),
        service_levels=(),
    )


def test_biggest_misses_when_items_differ_then_each_names_its_worst_window_largest_first() -> None:
    actual = np.array([[[2.0, 2.0], [2.0, 5.0]], [[9.0, np.nan], [2.0, 2.0]], [[2.0, 2.0], [2.0, 2.0]]])
    first, second = biggest_misses(backtest_of(actual, 2.0))  # the third item was never off
    assert (first["row"], first["origin"], first["sold"], first["expected"]) == (1, 10, 9.0, 2.0)
    assert first["units"] == [9.0, None]
    assert (second["row"], second["origin"], second["sold"]) == (0, 11, 7.0)
    assert first["loss_share"] == pytest.approx(7 / 10)  # absolute errors 7 and 3
    assert second["quantiles"]["0.9"] == [2.0, 2.0]


def test_biggest_misses_when_more_are_off_than_asked_for_then_the_largest_stay() -> None:
    actual = np.arange(12.0).reshape(12, 1, 1)
    assert [miss["row"] for miss in biggest_misses(backtest_of(actual, 0.0), count=3)] == [11, 10, 9]
