import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from training.demand.network.distributions import CountMixture

LEVELS = (0.05, 0.1, 0.5, 0.9, 0.95, 0.99)


def single(mean: float, size: float) -> CountMixture:
    return CountMixture(
        log_weight=torch.zeros(1, 1), log_mean=torch.tensor([[np.log(mean)]]), log_size=torch.tensor([[np.log(size)]])
    )


def random_mixture(cells: int, components: int) -> CountMixture:
    generator = torch.Generator().manual_seed(3)
    weight, mean, size = (torch.randn(cells, components, generator=generator) for _ in range(3))
    return CountMixture(log_weight=torch.log_softmax(weight, -1), log_mean=mean + 1, log_size=size)


@settings(deadline=None, max_examples=60)
@given(mean=st.floats(0.01, 500), size=st.floats(0.05, 150), count=st.integers(0, 400))
def test_single_component_when_compared_with_scipy_then_equal(mean, size, count):
    ours = single(mean, size)
    reference = stats.nbinom(size, size / (size + mean))
    assert float(ours.cdf(torch.tensor([float(count)]))) == pytest.approx(reference.cdf(count), abs=1e-6)
    assert float(ours.log_prob(torch.tensor([float(count)], dtype=torch.float64))) == pytest.approx(
        reference.logpmf(count), rel=1e-5, abs=1e-4
    )
    # On a level that a probability meets up to rounding, either neighbour is right.
    found = ours.quantiles(LEVELS)[0].numpy()
    assert (reference.cdf(found) >= np.array(LEVELS) - 1e-6).all()
    assert (reference.cdf(found - 1) < np.array(LEVELS) + 1e-6).all()


def test_quantiles_when_counted_out_then_smallest_whole_number_that_reaches_the_level():
    mixture = random_mixture(cells=12, components=3)
    table = np.stack([mixture.cdf(torch.full((12,), float(count))).numpy() for count in range(400)], axis=1)
    assert (np.diff(table, axis=1) >= 0).all()
    for column, level in enumerate(LEVELS):
        expected = (table < level - 1e-12).sum(axis=1)
        assert mixture.quantiles(LEVELS)[:, column].tolist() == expected.tolist()


def test_quantiles_when_looked_up_in_small_chunks_then_the_same(monkeypatch):
    mixture = random_mixture(cells=12, components=3)
    whole = mixture.quantiles(LEVELS)
    monkeypatch.setattr("training.demand.network.distributions._CHUNK_CELLS", 50)
    assert torch.equal(mixture.quantiles(LEVELS), whole)


def test_moments_when_summed_over_the_support_then_equal():
    mixture = random_mixture(cells=5, components=3)
    counts = torch.arange(20000, dtype=torch.float64)
    for cell in range(5):
        one = mixture.at(torch.tensor([cell]))
        mass = one.log_prob(counts).exp()
        mean = float((mass * counts).sum())
        assert float(mass.sum()) == pytest.approx(1, abs=1e-4)
        assert float(one.mean[0]) == pytest.approx(mean, rel=1e-3)
        assert float(one.variance[0]) == pytest.approx(float((mass * counts.square()).sum()) - mean**2, rel=1e-2)


def test_pooled_when_two_forecasts_differ_then_probabilities_are_averaged():
    low, high = single(1, 5), single(9, 2)
    at = torch.tensor([4.0])
    expected = (low.cdf(at) + high.cdf(at)) / 2
    assert float(CountMixture.pooled([low, high]).cdf(at)) == pytest.approx(float(expected))
    assert float(low.cdf(torch.tensor([-1.0]))) == 0
    assert torch.isnan(low.cdf(torch.tensor([torch.nan]))).all()
