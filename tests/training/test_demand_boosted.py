"""Boosted trees in the demand model: the pool by hand, the share by what is right, and every way they are kept and asked."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import ReleaseError
from tests.training.demand_worlds import poisson_panel, small_config
from training.demand.boosted.choose import with_best_share, with_share_of
from training.demand.boosted.pooled import PooledModel, pool, share_of, tree_components
from training.demand.boosted.trees import LEVELS, BoostedTrees
from training.demand.decisions.what_if import INPUTS as INPUT_NAMES
from training.demand.decisions.what_if import PlannedDemand, write_what_if
from training.demand.forecast import distributions
from training.demand.inputs.panel_inputs import PanelInputs
from training.demand.network.distributions import CountMixture
from training.demand.network.model import DemandModel
from training.demand.network.update import updated

CONFIG = small_config(boosted_trees="always", hidden_size=16, update_steps=2)
PANEL = poisson_panel()
INPUTS = PanelInputs.from_panel(PANEL, CONFIG)
UNTIL = 166


@pytest.fixture(scope="module")
def trees() -> BoostedTrees:
    return BoostedTrees.fit(PANEL, INPUTS, until=UNTIL)


@pytest.fixture(scope="module")
def untrained() -> DemandModel:
    torch.manual_seed(0)
    return DemandModel(INPUTS.sizes, CONFIG).eval()


def mixture(rng: np.random.Generator, *shape: int) -> CountMixture:
    weight = torch.from_numpy(rng.dirichlet(np.ones(shape[-1]), shape[:-1])).float().log()
    mean, size = (torch.from_numpy(rng.normal(1, 1, shape)).float() for _ in range(2))
    return CountMixture(log_weight=weight, log_mean=mean, log_size=size)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 999), share=st.sampled_from([0.125, 0.5, 1.0]))
def test_pool_when_asked_for_a_probability_then_the_weighted_mean_of_both(seed, share):
    rng = np.random.default_rng(seed)
    network, trees = mixture(rng, 3, 2, 4), mixture(rng, 3, 2, 1)
    units = torch.from_numpy(rng.integers(0, 30, (3, 2))).double()
    found = pool(network, trees, share).cdf(units)
    expected = (1 - share) * network.cdf(units) + share * trees.cdf(units)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_tree_components_when_read_from_quantiles_then_their_mean_and_spread():
    rng = np.random.default_rng(0)
    single, total = mixture(rng, 5, 3, 2), mixture(rng, 5, 3, 2)
    quantiles = np.sort(rng.gamma(2.0, 20.0, (5, 3, len(LEVELS))), axis=2)
    period, sums = tree_components(quantiles, single, total)
    np.testing.assert_allclose(period.mean, quantiles.mean(-1), rtol=1e-5)
    np.testing.assert_allclose(sums.mean, quantiles.mean(-1).cumsum(1), rtol=1e-5)
    sd = (quantiles[..., -1] - quantiles[..., 0]) / (2 * 1.2815515655446004)
    np.testing.assert_allclose(period.variance, np.maximum(sd**2, 1.02 * quantiles.mean(-1)), rtol=1e-3)


def test_tree_components_when_trees_say_what_the_network_says_then_the_total_is_as_wide():
    log_mean = torch.full((2, 4, 1), float(np.log(400.0)))
    log_size = torch.full((2, 4, 1), float(np.log(10.0)))
    single = CountMixture(log_weight=torch.zeros(2, 4, 1), log_mean=log_mean, log_size=log_size)
    steps = torch.arange(1, 5.0)[None, :, None]
    total = CountMixture(
        log_weight=torch.zeros(2, 4, 1), log_mean=log_mean + torch.log(steps), log_size=log_size + torch.log(steps) / 2
    )
    half = 1.2815515655446004 * single.variance.sqrt()
    quantiles = torch.stack([single.mean - half, single.mean, single.mean + half], dim=-1).numpy()
    _, sums = tree_components(quantiles, single, total)
    np.testing.assert_allclose(sums.variance, total.variance, rtol=1e-3)


def test_share_when_the_network_has_learnt_nothing_then_trees_have_most_of_it(untrained, tmp_path):
    origins = (UNTIL, UNTIL + CONFIG.horizon)
    model = with_best_share(untrained, PANEL, INPUTS, until=UNTIL, origins=origins, directory=tmp_path)
    assert share_of(model) >= 0.75
    again = with_share_of(model, untrained, PANEL, INPUTS, until=UNTIL, directory=tmp_path)
    for one, other in zip(distributions(model, INPUTS, 173), distributions(again, INPUTS, 173), strict=True):
        torch.testing.assert_close(one.mean, other.mean)


@pytest.mark.parametrize("setting", ["never", "auto"])
def test_share_when_not_asked_for_or_the_year_was_not_seen_twice_then_the_network_alone(setting, untrained, tmp_path):
    inputs = dataclasses.replace(INPUTS, config=dataclasses.replace(CONFIG, boosted_trees=setting))
    found = with_best_share(untrained, PANEL, inputs, until=UNTIL, origins=(UNTIL,), directory=tmp_path)
    assert found is untrained
    assert not list(tmp_path.iterdir())


def test_trees_when_the_future_is_another_then_they_say_the_same(trees):
    units = PANEL.units.copy()
    units[:, UNTIL:] = 10_000
    other = dataclasses.replace(PANEL, units=units)
    found = BoostedTrees.fit(other, PanelInputs.from_panel(other, CONFIG), until=UNTIL)
    np.testing.assert_array_equal(found.quantiles(UNTIL), trees.quantiles(UNTIL))


def test_trees_when_kept_then_they_say_the_same_and_refuse_another_panel(trees, tmp_path):
    trees.save(tmp_path / "trees")
    again = BoostedTrees.load(tmp_path / "trees", PANEL, INPUTS)
    np.testing.assert_array_equal(again.quantiles(170), trees.quantiles(170))
    narrow = dataclasses.replace(PANEL, known_ahead={"promotion": PANEL.known_ahead["promotion"]})
    with pytest.raises(ReleaseError, match="expected a panel of"):
        BoostedTrees.load(tmp_path / "trees", narrow, INPUTS)
    (tmp_path / "trees" / "q0.5.txt").write_text("tree\n")
    with pytest.raises(ReleaseError, match="expected boosted trees"):
        BoostedTrees.load(tmp_path / "trees", PANEL, INPUTS)


def test_updated_when_trees_have_a_share_then_they_stay_and_the_network_moves(trees, untrained):
    model = PooledModel(network=untrained, trees=trees, share=0.5)
    found = updated(model, INPUTS, origin=170, config=CONFIG)
    assert isinstance(found, PooledModel)
    assert (found.trees, found.share) == (trees, 0.5)
    before, after = (next(one.network.parameters()) for one in (model, found))
    assert not torch.equal(before, after)


def test_what_if_when_trees_have_a_share_then_the_file_says_what_the_model_says_and_follows_the_plan(
    trees, untrained, tmp_path
):
    model = PooledModel(network=untrained, trees=trees, share=0.25)
    write_what_if(tmp_path, model, PANEL, INPUTS)
    session = onnxruntime.InferenceSession(tmp_path / "what_if.onnx", providers=["CPUExecutionProvider"])
    fixed = {one.name: np.load(tmp_path / "what_if" / f"{one.name}.npy") for one in session.get_inputs()}

    def means(values: dict[str, np.ndarray]) -> list[np.ndarray]:
        said = session.run(None, values)
        return [(np.exp(said[at]) * np.exp(said[at + 1])).sum(-1) for at in (0, 3)]

    for found, expected in zip(means(fixed), distributions(model, INPUTS, PANEL.num_periods), strict=True):
        np.testing.assert_allclose(found, expected.mean, rtol=1e-3)
    other = fixed | {"horizon_plan": fixed["horizon_plan"] + 1}
    alone = PlannedDemand(untrained).eval()
    with torch.inference_mode():
        said = [alone(*(torch.from_numpy(values[name]) for name in INPUT_NAMES)) for values in (fixed, other)]
    before, after = ((one[0].exp() * one[1].exp()).sum(-1).numpy() for one in said)
    by_trees = np.exp(fixed["trees_log_mean"]) * after / before
    np.testing.assert_allclose(means(other)[0], 0.75 * after + 0.25 * by_trees, rtol=1e-3)
