"""Columns of an answer beside the same worked out item by item."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serving.release.state import ReleaseState
from serving.surfaces.question import Ranked
from serving.surfaces.rows import items_of, rounded


@given(st.lists(st.floats(-1e9, 1e9, width=32), max_size=20))
def test_rounded_when_scores_are_anything_then_as_python_writes_six_digits(scores: list[float]) -> None:
    expected = [float(f"{score:.6g}") for score in np.array(scores, np.float32).tolist()]
    np.testing.assert_allclose(rounded(np.array(scores, np.float32)), expected, rtol=1.1e-6)
    common = [score for score in scores if 1e-4 < abs(score) < 1e5]
    written = rounded(np.array(common, np.float32)).tolist()
    assert all(len(f"{score!r}".strip("-").replace(".", "").lstrip("0")) <= 7 for score in written)


def test_items_when_one_strategy_chose_all_then_as_where_each_is_written_by_itself(tiny_state: ReleaseState) -> None:
    codes, scores = np.array([5, 3, 7]), np.array([0.9, 0.5, 0.1234567], np.float32)
    plain = Ranked.by("session", codes, scores)
    told = Ranked.by("session", codes, scores, ["a", "b", "c"])
    assert [item.item_id for item in items_of(tiny_state, plain)] == ["item-3", "item-1", "item-5"]
    assert [item.score for item in items_of(tiny_state, plain)] == [0.9, 0.5, 0.123457]
    for one, other in zip(items_of(tiny_state, plain), items_of(tiny_state, told), strict=True):
        assert (one.item_id, one.score, one.title, one.strategy) == (other.item_id, other.score, other.title, None)
    assert [item.reason for item in items_of(tiny_state, told)] == ["a", "b", "c"]
