"""What peers say of an item, against loops, and hidden histories against items that never had one."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import ConfigError
from features.release import layout
from features.vocabulary import Vocabulary
from tests.training.demand_worlds import HORIZON, NUM_ITEMS, poisson_panel, small_config
from training.demand.inputs.content import item_vectors, principal_components
from training.demand.inputs.hidden_history import hide_histories
from training.demand.inputs.history import PrefixSums
from training.demand.inputs.panel_inputs import PanelInputs
from training.demand.inputs.peers import Peers, neighbours, nested_groups
from training.demand.network.module import DemandModule

CONFIG = small_config()


def history(units: np.ndarray) -> PrefixSums:
    nothing = np.zeros((*units.shape, 0), np.float32)
    return PrefixSums.build(units, plan=nothing, observed=nothing, season=0)


def own_sums(sums: PrefixSums, items: torch.Tensor, origins: torch.Tensor, spans: torch.Tensor) -> torch.Tensor:
    return sums.within(items[:, None], origins[:, None] - spans, origins[:, None]).basic


def test_nested_groups_when_a_category_settles_its_department_then_it_comes_after() -> None:
    category, department = np.array([1, 1, 2, 3, 0]), np.array([1, 1, 1, 2, 2])
    groups = nested_groups(np.column_stack([category, department]))
    assert groups.tolist() == [[0, 0, 0], [0, 0, 0], [0, 0, 1], [0, 1, 2], [0, 1, -1]]


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**31))
def test_peer_means_when_compared_with_loops_then_equal(seed: int) -> None:
    rng = np.random.default_rng(seed)
    units = rng.poisson(2, (6, 12)).astype(np.float32)
    units[rng.random(units.shape) < 0.2] = np.nan
    static = rng.integers(0, 3, (6, 2))
    sums, groups = history(units), nested_groups(static)
    spans, items, origin, prior = torch.tensor([5, 20]), torch.arange(6), 9, 1.5
    origins = torch.full((6,), origin)
    own = own_sums(sums, items, origins, spans)
    found = Peers.build(sums, static).means(items, origins, spans, own=own, prior_items=prior)
    for item in range(6):
        for column, span in enumerate((5, 9)):  # 20 periods are the 9 there are
            mean = 0.0
            for level in range(groups.shape[1]):
                others = [
                    j
                    for j in range(6)
                    if j != item and groups[j, level] == groups[item, level] and groups[item, level] >= 0
                ]
                past = units[others, origin - span : origin]
                weight = prior * span if level else 1e-6
                mean = (np.nansum(past) + weight * mean) / (np.isfinite(past).sum() + weight)
                assert found.units[item, column, level] == pytest.approx(mean)
                assert found.num_items[item, column, level] == pytest.approx(np.isfinite(past).sum() / span)


def test_peers_when_vectors_are_given_then_the_nearest_items_are_the_last_group() -> None:
    units = np.array([[0, 0], [4, 4], [6, 6], [100, 100]], np.float32)
    vectors = np.array([[1, 0.1], [1, 0.2], [1, 0], [0, 0]], np.float32)
    sums = history(units)
    peers = Peers.build(sums, np.zeros((4, 0), np.int64), vectors)
    items, origins, spans = torch.arange(4), torch.full((4,), 2), torch.tensor([2])
    own = own_sums(sums, items, origins, spans)
    found = peers.means(items, origins, spans, own=own, prior_items=0.0).units[:, 0]
    # All others, then those with a vector: item 0 is like 1 and 2; item 3 is like nobody, and its shop's mean stays.
    np.testing.assert_allclose(found[0], [110 / 3, 5], rtol=1e-5)
    np.testing.assert_allclose(found[3], [10 / 3, 10 / 3], rtol=1e-5)


def test_neighbours_when_compared_with_brute_force_then_the_same() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(20, 4)).astype(np.float32)
    vectors[[3, 11]] = 0
    found = neighbours(vectors, 5)
    for item in range(20):
        if item in (3, 11):
            assert (found[item] == -1).all()
            continue
        cosine = vectors @ vectors[item] / np.maximum(np.linalg.norm(vectors, axis=1), 1e-9)
        others = [j for j in np.argsort(-cosine) if j not in (item, 3, 11)]
        assert found[item].tolist() == others[:5]


def test_windows_when_histories_are_hidden_then_as_if_the_items_had_never_been_seen() -> None:
    panel, origin, new = poisson_panel(), 120, torch.tensor([4, 9])
    units, views = panel.units.copy(), panel.observed["num_views"].copy()
    units[new], views[new] = np.nan, 0
    unseen = dataclasses.replace(panel, units=units, observed={"num_views": views})
    origins = torch.full_like(new, origin)
    # One at a time: beside a hidden item the other is still a peer.
    for place in range(2):
        alone = panel.units.copy()
        alone[new[place]] = np.nan
        without = PanelInputs.from_panel(dataclasses.replace(unseen, units=alone), CONFIG)
        expected = without.windows(new[place : place + 1], origins[:1])
        found = PanelInputs.from_panel(panel, CONFIG).windows(
            new[place : place + 1], origins[:1], torch.ones(1, dtype=torch.bool)
        )
        for field in dataclasses.fields(found):
            ours, theirs = getattr(found, field.name), getattr(expected, field.name)
            if field.name != "context_plan":  # nothing looks there where the mask is empty
                torch.testing.assert_close(ours, theirs, msg=field.name)
        assert not found.context_mask.any()


def test_hide_histories_when_items_were_launched_then_half_the_hidden_windows_hold_the_launch() -> None:
    config = small_config(hidden_history_share=0.5)
    origins, launches = torch.full((4000,), 150), torch.full((4000,), 100)
    launches[2000:] = 0  # there from the start
    moved, hidden = hide_histories(origins, launches, config, fit_until=160, step=3)
    assert float(hidden.float().mean()) == pytest.approx(0.5, abs=0.05)
    at_launch = moved != origins
    assert not at_launch[2000:].any()
    assert not at_launch[~hidden].any()
    assert float(at_launch[:2000][hidden[:2000]].float().mean()) == pytest.approx(0.5, abs=0.05)
    assert sorted({*moved[at_launch].tolist()}) == list(range(100 - HORIZON + 1, 101))
    again = hide_histories(origins, launches, config, fit_until=160, step=3)
    assert torch.equal(moved, again[0])
    assert torch.equal(hidden, again[1])


def test_hide_histories_when_the_share_is_zero_then_nothing_changes() -> None:
    origins, launches = torch.arange(30, 60), torch.full((30,), 40)
    moved, hidden = hide_histories(origins, launches, small_config(hidden_history_share=0.0), fit_until=70, step=0)
    assert torch.equal(moved, origins)
    assert not hidden.any()


def test_item_vectors_when_a_part_knows_some_items_then_the_others_are_zero(tmp_path) -> None:
    Vocabulary.from_ids(["b", "a"]).save(tmp_path / layout.VOCABULARY)
    vectors = np.arange(8, dtype=np.float32).reshape(4, 2)
    np.save(tmp_path / layout.ITEM_VECTORS, vectors)
    found = item_vectors(tmp_path, np.array(["a", "new", "b"], object))
    codes = Vocabulary.load(tmp_path / layout.VOCABULARY)
    np.testing.assert_array_equal(found, [vectors[codes.code_of("a")], [0, 0], vectors[codes.code_of("b")]])
    with pytest.raises(ConfigError, match=r"item_vectors: expected the directory of a retrieval part"):
        item_vectors(tmp_path / "nowhere", np.array(["a"], object))


def test_principal_components_when_vectors_lie_on_a_line_then_the_first_one_orders_them() -> None:
    vectors = np.outer(np.array([1.0, 2, 3, 0]), [0.6, 0.8]).astype(np.float32)
    found = principal_components(vectors)
    assert found.shape == (4, 2)
    steps = np.diff(found[:3, 0])
    np.testing.assert_allclose(steps, steps[0])
    np.testing.assert_allclose(found[:3, 1], 0, atol=1e-5)
    assert found[3].tolist() == [0, 0]


def test_inputs_when_a_part_is_named_then_its_vectors_are_read(tmp_path) -> None:
    panel = poisson_panel()
    Vocabulary.from_ids([str(id_) for id_ in panel.item_ids]).save(tmp_path / layout.VOCABULARY)
    np.save(tmp_path / layout.ITEM_VECTORS, np.random.default_rng(0).normal(size=(NUM_ITEMS + 2, 4)).astype(np.float32))
    plain = PanelInputs.from_panel(panel, CONFIG)
    inputs = PanelInputs.from_panel(panel, small_config(item_vectors=str(tmp_path)))
    assert inputs.content.shape == (NUM_ITEMS, 4)
    assert inputs.peers.num_levels == plain.peers.num_levels + 1
    assert inputs.sizes.state == plain.sizes.state + 4 + 2  # the components, and one more group


def test_draw_when_items_are_not_known_yet_then_only_the_others_are_drawn() -> None:
    panel = poisson_panel()
    units = panel.units.copy()
    units[5:, :100] = np.nan  # only five items were there before period 100
    inputs = PanelInputs.from_panel(dataclasses.replace(panel, units=units), CONFIG)
    items, origins, hidden = DemandModule(inputs, CONFIG, fit_until=100).draw(0)
    assert sorted({*items.tolist()}) == [0, 1, 2, 3, 4]
    assert len(items) == len(origins) == len(hidden) == CONFIG.batch_size
