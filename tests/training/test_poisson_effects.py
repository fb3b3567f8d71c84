"""The Poisson regression with item and period effects, beside the obvious slow one."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from features.errors import DataError
from training.demand.effects.poisson import fit_poisson


def world(
    seed: int, *, items: int = 8, periods: int = 20, groups: int = 2
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Units, one regressor that falls on items and periods that sell well anyway, and groups; some cells unknown."""
    rng = np.random.default_rng(seed)
    item, period = rng.normal(0.5, 0.7, items), rng.normal(0, 0.5, periods)
    rate = np.exp(item[:, None] + period)
    flag = (rng.random(rate.shape) < 0.5 * rate / rate.max()).astype(float)
    units = rng.poisson(rate * np.exp(0.6 * flag)).astype(float)
    units[rng.random(rate.shape) < 0.05] = np.nan
    return units, flag[:, :, None], np.arange(items) % groups


def with_dummies(units: np.ndarray, x: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Maximise the same likelihood with a column for each item and each group's period; return beta."""
    known = np.isfinite(units)
    rows, columns = np.nonzero(known)
    cell = groups[rows] * units.shape[1] + columns
    dummies = np.concatenate([np.eye(len(units))[rows], np.eye(units.shape[1] * (groups.max() + 1))[cell]], axis=1)
    design = np.concatenate([x[known], dummies], axis=1)

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        mean = np.exp(design @ theta)
        return float(mean.sum() - units[known] @ (design @ theta)), design.T @ (mean - units[known])

    best = minimize(
        loss, np.zeros(design.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 5000, "ftol": 1e-14}
    )
    return best.x[: x.shape[2]]


@pytest.mark.parametrize("seed", range(4))
def test_fit_when_compared_with_a_column_for_each_effect_then_it_is_the_same(seed: int) -> None:
    units, x, groups = world(seed, groups=1 + seed % 2)
    found = fit_poisson(units, x, groups)
    np.testing.assert_allclose(found.beta, with_dummies(units, x, groups), atol=2e-4)
    # The likelihood's first-order conditions: sums by item and by group's period are those of the units.
    counts = np.where(found.used, units, 0)
    mean = found.mean * found.used
    np.testing.assert_allclose(mean.sum(axis=1), counts.sum(axis=1), rtol=1e-5)
    for group in range(groups.max() + 1):
        rows = groups == group
        np.testing.assert_allclose(mean[rows].sum(axis=0), counts[rows].sum(axis=0), rtol=1e-5, atol=1e-9)


def test_mean_when_a_day_is_unknown_then_it_is_what_the_effects_say() -> None:
    # Item 1 sells twice what item 0 does; the second day sells three times as much as the first.
    units = np.array([[1.0, 3.0], [2.0, np.nan], [4.0, 12.0]])
    found = fit_poisson(units, np.zeros((3, 2, 1)), np.zeros(3, int))
    np.testing.assert_allclose(found.mean, [[1, 3], [2, 6], [4, 12]], rtol=1e-5)


def test_interval_when_compared_with_leaving_items_out_one_by_one_then_it_is_near() -> None:
    units, x, groups = world(5, items=30, periods=40, groups=1)
    found = fit_poisson(units, x, groups)
    left_out = [fit_poisson(np.delete(units, i, 0), np.delete(x, i, 0), np.delete(groups, i)).beta for i in range(30)]
    exact = np.sqrt(np.square(np.array(left_out) - found.beta).sum() * 29 / 30)
    assert np.sqrt(found.covariance[0, 0]) == pytest.approx(exact, rel=0.15)
    assert 5 < found.degrees_of(np.ones(1)) < 30


def test_fit_when_promotions_fall_on_what_sells_anyway_then_the_effect_is_still_right() -> None:
    betas = []
    naive = []
    for seed in range(20):
        units, x, groups = world(seed, items=40, periods=60, groups=1)
        betas.append(fit_poisson(units, x, groups).beta[0])
        flag = x[:, :, 0] > 0
        naive.append(np.log(np.nanmean(units[flag]) / np.nanmean(units[~flag])))
    assert np.mean(betas) == pytest.approx(0.6, abs=3 * np.std(betas) / np.sqrt(20))
    assert np.mean(naive) > 0.8


def test_fit_when_a_regressor_cannot_be_told_from_the_effects_then_it_is_not_a_number() -> None:
    units, x, groups = world(0, groups=1)
    shop_wide = np.broadcast_to((np.arange(units.shape[1]) % 7 == 0)[None, :, None], x.shape)
    never = np.zeros_like(x)
    unsold = np.where(np.nan_to_num(units, nan=1.0)[:, :, None] == 0, 1.0, 0.0)
    found = fit_poisson(units, np.concatenate([shop_wide, x, never, x, unsold], axis=2), groups)
    assert np.isnan(found.beta).tolist() == [True, False, True, True, True]
    assert found.beta[1] == pytest.approx(fit_poisson(units, x, groups).beta[0])
    assert np.isfinite(found.covariance[1, 1])
    assert np.isnan(found.covariance[0]).all()


def test_fit_when_nothing_was_sold_then_there_is_no_estimate() -> None:
    found = fit_poisson(np.zeros((3, 5)), np.ones((3, 5, 1)), np.zeros(3, int))
    assert np.isnan(found.beta).all()
    assert not found.used.any()


def test_fit_when_shapes_do_not_fit_then_it_says_so() -> None:
    with pytest.raises(DataError, match=r"expected units \[I, T\]"):
        fit_poisson(np.zeros((3, 5)), np.ones((3, 5)), np.zeros(3, int))
