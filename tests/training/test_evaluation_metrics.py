from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score
from torchmetrics.functional.retrieval import (
    retrieval_hit_rate,
    retrieval_normalized_dcg,
    retrieval_recall,
    retrieval_reciprocal_rank,
)

from features.errors import DataError
from features.recommendations import Recommendations
from features.sequences import Sequences
from training.evaluation.metrics import KS, RelevantItems, hit_matrix, list_metrics, user_metrics
from training.evaluation.ranking import rank_in_batches

NUM_ITEMS = 9


def lists(*rows: list[int]) -> Recommendations:
    items = [np.array(row, dtype=np.int32) for row in rows]
    return Recommendations.from_lists(items, [-np.arange(len(row), dtype=np.float32) for row in rows])


def targets(*rows: list[int]) -> Sequences:
    offsets = np.cumsum([0] + [len(row) for row in rows])
    return Sequences.from_arrays(offsets=offsets, item=[item for row in rows for item in row])


def one_question(ranked: list[int], wanted: set[int], k: int) -> dict[str, float]:
    """The definitions, word by word."""
    hits = [rank for rank, item in enumerate(ranked[:k], start=1) if item in wanted]
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(k, len(wanted)) + 1))
    return {
        f"recall@{k}": len(hits) / len(wanted),
        f"capped_recall@{k}": len(hits) / min(k, len(wanted)),
        f"hit_rate@{k}": float(bool(hits)),
        f"ndcg@{k}": sum(1 / math.log2(rank + 1) for rank in hits) / ideal,
        f"mrr@{k}": 1 / hits[0] if hits else 0.0,
    }


ranked_items = st.permutations(range(2, 2 + NUM_ITEMS)).flatmap(
    lambda p: st.integers(0, NUM_ITEMS).map(lambda n: p[:n])
)
wanted_items = st.lists(st.integers(2, 1 + NUM_ITEMS), min_size=1, max_size=6)


@given(questions=st.lists(st.tuples(ranked_items, wanted_items), min_size=1, max_size=6))
def test_user_metrics_when_compared_with_definitions_then_equal(questions: list[tuple[list[int], list[int]]]) -> None:
    found = user_metrics(
        lists(*[ranked for ranked, _ in questions]), RelevantItems.of(targets(*[w for _, w in questions])), ks=(1, 3, 7)
    )
    for k in (1, 3, 7):
        for row, (ranked, wanted) in enumerate(questions):
            for name, expected in one_question(ranked, set(wanted), k).items():
                assert found[name][row] == pytest.approx(expected, abs=1e-12), name


@given(ranked=st.permutations(range(2, 2 + NUM_ITEMS)), wanted=wanted_items)
def test_user_metrics_when_compared_with_torchmetrics_then_equal(ranked: list[int], wanted: list[int]) -> None:
    score = torch.arange(NUM_ITEMS, 0, -1, dtype=torch.float32)
    relevant = torch.tensor([item in wanted for item in ranked])
    found = user_metrics(lists(list(ranked)), RelevantItems.of(targets(wanted)), ks=(5,))
    theirs = {
        "recall@5": retrieval_recall(score, relevant, top_k=5),
        "hit_rate@5": retrieval_hit_rate(score, relevant, top_k=5),
        "ndcg@5": retrieval_normalized_dcg(score, relevant, top_k=5),
        "mrr@5": retrieval_reciprocal_rank(score, relevant, top_k=5),
    }
    for name, value in theirs.items():
        assert found[name][0] == pytest.approx(float(value), abs=1e-6), name


@pytest.mark.parametrize("seed", range(5))
def test_user_metrics_when_asked_at_the_reported_cut_offs_then_other_libraries_agree(seed: int) -> None:
    rng = np.random.default_rng(seed)
    num_items, wanted = 60, [rng.choice(60, size, replace=False) for size in (1, 3, 7, 25)]
    scores = np.stack([rng.permutation(num_items) for _ in wanted]).astype(np.float64)
    ranked = np.argsort(-scores, axis=1)
    found = user_metrics(
        lists(*[list(row + 2) for row in ranked]), RelevantItems.of(targets(*[list(row + 2) for row in wanted]))
    )
    for row, items in enumerate(wanted):
        relevant = np.isin(np.arange(num_items), items)
        asked = torch.tensor(scores[row]), torch.tensor(relevant)
        for k in KS:
            assert found[f"recall@{k}"][row] == pytest.approx(float(retrieval_recall(*asked, top_k=k)), abs=1e-6)
            assert found[f"mrr@{k}"][row] == pytest.approx(float(retrieval_reciprocal_rank(*asked, top_k=k)), abs=1e-6)
            theirs = float(retrieval_normalized_dcg(*asked, top_k=k))
            assert found[f"ndcg@{k}"][row] == pytest.approx(theirs, abs=1e-6)
            assert found[f"ndcg@{k}"][row] == pytest.approx(ndcg_score([relevant], [scores[row]], k=k), abs=1e-9)


def test_user_metrics_when_all_items_tie_then_recall_is_what_chance_gives() -> None:
    # Targets are the lowest codes: a ranking that kept ties in order would find them all, or none.
    num_users, num_items, wanted = 4000, 50, [2, 3]
    histories = Sequences.from_arrays(offsets=np.zeros(num_users + 1, int), item=[])
    blind = rank_in_batches(
        lambda batch: np.zeros((batch.num_users, num_items + 2), np.float32),
        histories,
        candidates=np.arange(num_items + 2) >= 2,
        k=20,
        exclude_seen=False,
    )
    found = user_metrics(blind, RelevantItems.of(targets(*[wanted] * num_users)))
    for k in KS:  # k of 50 places; the share of two items found has a variance below p (1 - p) / 2
        share = k / num_items
        assert found[f"recall@{k}"].mean() == pytest.approx(
            share, abs=4 * math.sqrt(share * (1 - share) / 2 / num_users)
        )


def test_user_metrics_when_targets_repeat_then_each_item_counts_once() -> None:
    found = user_metrics(lists([5, 6]), RelevantItems.of(targets([5, 5, 7])), ks=(2,))
    assert found["recall@2"].tolist() == [0.5]  # of {5, 7}


def test_user_metrics_when_a_list_is_empty_then_all_zero() -> None:
    found = user_metrics(lists([], [4]), RelevantItems.of(targets([4], [4])), ks=(1,))
    assert {name: values.tolist() for name, values in found.items()} == {name: [0.0, 1.0] for name in found}


def test_user_metrics_when_more_targets_than_k_then_only_capped_recall_and_ndcg_reach_one() -> None:
    found = user_metrics(lists([2, 3]), RelevantItems.of(targets([2, 3, 4, 5])), ks=(2,))
    assert (found["recall@2"][0], found["capped_recall@2"][0], found["ndcg@2"][0]) == (0.5, 1.0, 1.0)


def test_hit_matrix_when_padding_could_match_a_target_then_it_is_no_hit() -> None:
    assert not hit_matrix(lists([]), RelevantItems.of(targets([0])), k=3).any()


def test_relevant_items_when_a_user_has_none_then_error_says_to_leave_it_out() -> None:
    with pytest.raises(DataError, match="1 users without one; leave these users out"):
        RelevantItems.of(targets([3], []))


def test_hit_matrix_when_lists_and_questions_disagree_then_error_counts_both() -> None:
    with pytest.raises(DataError, match="found 2 lists for 1 questions"):
        hit_matrix(lists([2], [3]), RelevantItems.of(targets([2])), k=1)


def test_list_metrics_when_lists_are_known_then_values_are_by_hand() -> None:
    counts = np.array([0, 0, 6, 2])  # smoothed shares: (6 + 1) / 12, (2 + 1) / 12
    found = list_metrics(lists([2, 3], [2]), counts=counts, num_candidates=2, ks=(1, 2))
    assert found["coverage@1"] == 0.5
    assert found["coverage@2"] == 1.0
    assert found["mean_popularity@1"] == 6
    assert found["mean_popularity@2"] == pytest.approx((6 + 6 + 2) / 3)
    assert found["novelty@1"] == pytest.approx(math.log2(12 / 7))
    assert found["novelty@2"] == pytest.approx((2 * math.log2(12 / 7) + math.log2(12 / 3)) / 3)


def test_list_metrics_when_all_lists_are_empty_then_zero() -> None:
    found = list_metrics(lists([], []), counts=np.zeros(4, int), num_candidates=2, ks=(5,))
    assert found == {"coverage@5": 0.0, "novelty@5": 0.0, "mean_popularity@5": 0.0}
