from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from features.sequences import Sequences
from training.evaluation import ranking
from training.evaluation.ranking import rank_in_batches, top_k

scores_of_any_kind = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.integers(1, 12)),
    elements=st.one_of(
        st.sampled_from([-np.inf, -1.0, -0.0, 0.0, 1.0, np.inf, 1e-45, -1e-45]),
        st.floats(width=32, allow_nan=False),
    ),
)


@given(scores=scores_of_any_kind, k=st.integers(1, 15), seed=st.integers(0, 99))
def test_top_k_when_compared_with_a_full_sort_then_scores_are_equal(scores: np.ndarray, k: int, seed: int) -> None:
    items, best = top_k(scores, k, np.random.default_rng(seed))
    expected = -np.sort(-scores, axis=1)[:, :k]
    assert np.array_equal(best, expected)
    assert np.array_equal(np.take_along_axis(scores, items, axis=1), best)
    assert all(len(set(row)) == len(row) for row in items.tolist())


def test_top_k_when_all_scores_tie_then_every_item_is_first_equally_often() -> None:
    items, _ = top_k(np.zeros((4000, 4), np.float32), 2, np.random.default_rng(0))
    shares = np.bincount(items[:, 0], minlength=4) / 4000
    assert shares == pytest.approx([0.25] * 4, abs=0.03)  # 4 standard errors


def test_top_k_when_zero_is_signed_then_it_still_ties() -> None:
    firsts = top_k(np.tile(np.array([0.0, -0.0], np.float32), (200, 1)), 1, np.random.default_rng(0))[0]
    assert 60 < firsts.sum() < 140


def histories(num_users: int) -> Sequences:
    return Sequences.from_arrays(offsets=np.arange(num_users + 1), item=np.full(num_users, 3))


@settings(max_examples=20, deadline=None)
@given(cells=st.integers(1, 60))
def test_rank_in_batches_when_batch_size_changes_then_lists_stay(cells: int) -> None:
    candidates = np.array([False, False, True, True, True, True, True])

    def ranked() -> list[int]:
        return rank_in_batches(
            lambda batch: np.zeros((batch.num_users, 7), np.float32),
            histories(9),
            candidates=candidates,
            k=3,
            exclude_seen=True,
            seed=5,
        ).item.tolist()

    whole = ranked()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "_CELLS_A_BATCH", cells)
        assert ranked() == whole


@pytest.mark.parametrize(("exclude_seen", "expected"), [(True, {2, 4}), (False, {2, 3, 4})])
def test_rank_in_batches_when_few_items_qualify_then_the_list_is_short(exclude_seen: bool, expected: set[int]) -> None:
    found = rank_in_batches(
        lambda batch: np.zeros((batch.num_users, 5), np.float32),
        histories(1),
        candidates=np.array([False, False, True, True, True]),
        k=20,
        exclude_seen=exclude_seen,
    )
    assert set(found.item.tolist()) == expected


def test_rank_in_batches_when_nobody_asks_then_no_list() -> None:
    found = rank_in_batches(
        lambda batch: np.zeros((batch.num_users, 5), np.float32),
        histories(0),
        candidates=np.ones(5, bool),
        k=2,
        exclude_seen=True,
    )
    assert found.num_lists == 0
