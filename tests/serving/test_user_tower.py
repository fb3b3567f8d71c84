"""The exported tower in serving: batches of unequal lengths beside one user at a time."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serving.release.state import ReleaseState
from serving.retrieval.user_tower import length_groups
from tests.serving.tiny_release import TinyRelease


@given(st.lists(st.integers(1, 60), min_size=1, max_size=40))
def test_length_groups_when_lengths_vary_then_every_row_is_in_one_and_little_is_padded(lengths: list[int]) -> None:
    given_lengths = np.array(lengths)
    groups = length_groups(given_lengths)
    assert sorted(np.concatenate(groups).tolist()) == list(range(len(lengths)))
    cost = sum(45 + len(rows) * given_lengths[rows].max() for rows in groups)
    assert cost <= 45 + len(lengths) * max(lengths)


def test_encode_when_lengths_vary_then_as_one_by_one(tiny: TinyRelease, tiny_state: ReleaseState) -> None:
    users = np.flatnonzero(tiny.histories.lengths)
    assert len(length_groups(np.minimum(tiny.histories.lengths[users], 50))) > 1
    together = tiny_state.tower.encode(tiny.histories.take(users))
    for row, user in enumerate(users):
        alone = tiny.histories.take([user])
        np.testing.assert_allclose(tiny_state.tower.encode(alone)[0], together[row], atol=1e-5)
        np.testing.assert_allclose(tiny.user_vec(alone)[0], together[row], atol=1e-5)
