"""Whom the blend is fitted on."""

from __future__ import annotations

import numpy as np

from features.sequences import Sequences
from features.splits import Holdout
from training.retrieval.blend import some_users


def test_some_users_when_there_are_more_then_as_many_keep_their_own_questions_and_answers() -> None:
    # User u has met item 10 + u and chose item 50 + u.
    number = np.arange(10)
    holdout = Holdout(
        users=number + 100,
        query=Sequences.from_arrays(offsets=np.arange(11), item=10 + number),
        targets=Sequences.from_arrays(offsets=np.arange(11), item=50 + number),
    )
    kept = some_users(holdout, most=4)
    assert kept.num_users == len(set(kept.users.tolist())) == 4
    assert kept.query.item.tolist() == (kept.users - 90).tolist()
    assert kept.targets.item.tolist() == (kept.users - 50).tolist()
    assert some_users(holdout, most=4).users.tolist() == kept.users.tolist(), "a part is the same each time"
    assert some_users(holdout, most=10) is holdout
