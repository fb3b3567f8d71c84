"""The count mixtures of serving are those of training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from features.demand import count_mixture
from training.demand.network import distributions

LEVELS = (0.05, 0.5, 0.9, 0.99)


def both(
    seed: int, shape: tuple[int, ...], scale: float
) -> tuple[count_mixture.CountMixture, distributions.CountMixture]:
    rng = np.random.default_rng(seed)
    weight = rng.dirichlet(np.ones(shape[-1]), size=shape[:-1])
    mean = rng.normal(scale, 1.5, shape)
    size = rng.uniform(-3, 5, shape)
    arrays = {"log_weight": np.log(weight + 1e-9), "log_mean": mean, "log_size": size}
    return (
        count_mixture.CountMixture(**arrays),
        distributions.CountMixture(**{name: torch.from_numpy(values) for name, values in arrays.items()}),
    )


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.floats(-4, 4))
def test_mixture_when_in_numpy_then_it_equals_the_one_in_torch(seed: int, scale: float) -> None:
    ours, theirs = both(seed, (4, 3, 2), scale)
    np.testing.assert_allclose(ours.mean, theirs.mean.numpy(), rtol=1e-9)
    np.testing.assert_allclose(ours.variance, theirs.variance.numpy(), rtol=1e-6)
    np.testing.assert_array_equal(ours.quantiles(LEVELS), theirs.quantiles(LEVELS).numpy())
    units = np.random.default_rng(seed).integers(-1, 60, ours.mean.shape).astype(float)
    np.testing.assert_allclose(ours.cdf(units), theirs.cdf(torch.from_numpy(units)).numpy(), rtol=1e-9, atol=1e-12)


def test_quantiles_when_cells_need_several_chunks_then_each_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, _ = both(1, (50, 3), 3.0)
    whole = ours.quantiles(LEVELS)
    monkeypatch.setattr(count_mixture, "_CHUNK_CELLS", 1000)
    np.testing.assert_array_equal(ours.quantiles(LEVELS), whole)


def test_quantiles_when_nothing_but_a_poisson_is_left_then_they_are_its_own() -> None:
    # Poisson(2): P(0) = .135, P(<= 1) = .406, P(<= 2) = .677, P(<= 3) = .857, P(<= 4) = .947.
    poisson = count_mixture.CountMixture(
        log_weight=np.zeros((1, 1)), log_mean=np.full((1, 1), np.log(2.0)), log_size=np.full((1, 1), 20.0)
    )
    assert poisson.quantiles((0.1, 0.4, 0.5, 0.9, 0.95)).tolist() == [[0, 1, 2, 4, 5]]
