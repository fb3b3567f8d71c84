"""Exact search in blocks, what is excluded, and runs of the tower, beside the obvious way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import ConfigError
from features.sequences import Sequences
from serving.bulk import exact
from serving.bulk.exact import ExactItems
from serving.bulk.nearest import Excluded, by_all_items, by_index
from serving.bulk.settings import BulkSettings
from serving.release.state import ReleaseState
from serving.retrieval.item_index import Ask
from serving.retrieval.user_tower import run_stops


@given(
    seed=st.integers(0, 10_000),
    num_items=st.integers(1, 90),
    num_users=st.integers(0, 9),
    depth=st.integers(1, 100),
    block=st.sampled_from([3, 16, 64]),
)
@settings(max_examples=40, deadline=None)
def test_exact_search_finds_what_sorting_all_scores_does(
    seed: int, num_items: int, num_users: int, depth: int, block: int
) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.integers(-2, 3, (num_items + 5, 4)).astype(np.float32)  # many ties, sums without rounding
    codes = np.sort(rng.permutation(num_items + 5)[:num_items])
    users = rng.integers(-2, 3, (num_users, 4)).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "_ITEMS", block)
        patch.setattr(exact, "_USERS", 4)
        scores, found = ExactItems(vectors, codes).search(users, depth)
    everything = users @ vectors[codes].T
    order = np.argsort(-everything, axis=1, kind="stable")[:, :depth]  # of equals the smaller code first
    np.testing.assert_array_equal(found, codes[order])
    np.testing.assert_array_equal(scores, np.take_along_axis(everything, order, axis=1))


def test_excluded_holds_what_each_user_holds() -> None:
    excluded = Excluded.distinct(np.array([0, 0, 0, 2, 2]), np.array([7, 4, 7, 4, 9]), num_users=3)
    assert [excluded.of(user).tolist() for user in range(3)] == [[4, 7], [], [4, 9]]
    found = excluded.holds(np.array([[4, 9, -1], [4, 7, 9]]), np.array([2, 0]))
    assert found.tolist() == [[True, True, False], [True, True, False]]
    assert excluded.take(np.array([2, 1])).lengths.tolist() == [2, 0]


@pytest.mark.parametrize("kind", [by_index, by_all_items])
def test_search_of_many_finds_what_a_search_for_each_does(kind: object, tiny_state: ReleaseState) -> None:
    rng = np.random.default_rng(3)
    vecs = rng.standard_normal((40, tiny_state.index.vectors.shape[1])).astype(np.float32)
    vecs /= np.linalg.norm(vecs, axis=1, keepdims=True)
    user, item = np.repeat(np.arange(40), 50), rng.integers(2, 190, 40 * 50)
    keep = rng.random(len(user)) < user / 40  # the first exclude nothing, the last much
    excluded = Excluded.distinct(user[keep], item[keep], num_users=40)
    for k in (5, 30, 190):
        found = kind(tiny_state.index)(vecs, k, excluded)  # type: ignore[operator]
        each = tiny_state.index.search(vecs, [Ask(k=k, excluded=excluded.of(row)) for row in range(40)])
        np.testing.assert_array_equal(found.offsets, each.offsets)
        np.testing.assert_array_equal(found.item, each.item)
        np.testing.assert_allclose(found.score, each.score, atol=1e-6)


def test_tower_encodes_many_as_it_does_each(tiny_state: ReleaseState) -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 90, 300)
    ts = np.concatenate([np.sort(rng.integers(1, 10**15, length)) for length in lengths])
    sequences = Sequences.from_arrays(
        offsets=np.cumsum([0, *lengths]), item=rng.integers(2, 200, lengths.sum()), ts=ts, event_type=None
    )
    each = np.concatenate([tiny_state.tower.encode(sequences.take([row])) for row in range(0, 300, 7)])
    np.testing.assert_allclose(tiny_state.tower.encode_many(sequences)[::7], each, atol=1e-6)


@given(st.lists(st.integers(1, 3000), min_size=1, max_size=200))
def test_runs_cover_all_rows_and_keep_to_their_size(lengths: list[int]) -> None:
    rising = np.sort(lengths)
    stops = run_stops(rising)
    starts = [0, *stops[:-1]]
    assert stops[-1] == len(rising)
    for start, stop in zip(starts, stops, strict=True):
        assert stop - start == 1 or (stop - start) * rising[stop - 1] <= 2_048


def test_settings_of_an_item_page_are_refused() -> None:
    with pytest.raises(ConfigError, match="'similar' is about an item"):
        BulkSettings(surface="similar")
    with pytest.raises(ConfigError, match="k: expected 1 to 1000, found 0"):
        BulkSettings(k=0)
