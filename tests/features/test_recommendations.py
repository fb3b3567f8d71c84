from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import DataError
from features.recommendations import Recommendations

scores = st.lists(st.integers(-50, 50).map(float), max_size=5).map(lambda row: sorted(row, reverse=True))


@given(rows=st.lists(scores, min_size=1, max_size=5), k=st.integers(1, 6))
def test_top_when_compared_with_a_loop_then_left_aligned_and_short_lists_stay_short(
    rows: list[list[float]], k: int
) -> None:
    items = [np.arange(2, 2 + len(row), dtype=np.int32) for row in rows]
    answers = Recommendations.from_lists(items, [np.array(row, np.float32) for row in rows])
    codes, mask = answers.top(k)
    for row, held, wanted in zip(codes.tolist(), mask.tolist(), items, strict=True):
        kept = wanted.tolist()[:k]
        assert row == kept + [0] * (k - len(kept))
        assert held == [True] * len(kept) + [False] * (k - len(kept))
    assert answers.num_lists == len(rows)
    assert [answers.list_of(q)[1].tolist() for q in range(len(rows))] == rows


def test_from_top_k_when_cells_hold_no_answer_then_they_are_left_out() -> None:
    answers = Recommendations.from_top_k(np.array([[5, 3], [7, 0]]), np.array([[0.9, 0.1], [0.4, -np.inf]]))
    assert [answers.list_of(q)[0].tolist() for q in (0, 1)] == [[5, 3], [7]]


def test_recommendations_when_scores_rise_then_refused_unless_a_list_begins_there() -> None:
    with pytest.raises(DataError, match="scores that do not rise within a list"):
        Recommendations.from_lists([np.array([2, 3])], [np.array([0.1, 0.2])])
    Recommendations.from_lists([np.array([2]), np.array([3])], [np.array([0.1]), np.array([0.2])])


def test_from_lists_when_there_is_no_question_then_empty() -> None:
    assert Recommendations.from_lists([], []).num_lists == 0
