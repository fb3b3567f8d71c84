from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import DataError
from features.sequences import Sequences
from features.splits import Holdout, Split

Users = list[list[tuple[int, int]]]  # (item, ts)

rows = st.lists(st.tuples(st.integers(2, 6), st.integers(0, 30)), max_size=8).map(
    lambda rows: sorted(rows, key=lambda row: row[1])
)
users = st.lists(rows, min_size=1, max_size=6)


def jagged(users: Users) -> Sequences:
    """Each event carries its own number as its price band, so that parts can be told apart; up to 120 events."""
    flat = [row for rows in users for row in rows]
    return Sequences.from_arrays(
        offsets=np.cumsum([0, *map(len, users)]),
        item=[row[0] for row in flat],
        ts=[row[1] for row in flat],
        event_type=[1 + n % 2 for n in range(len(flat))],
        price_band=list(range(len(flat))),
    )


def marks(sequences: Sequences) -> list[int]:
    return sorted(sequences.price_band.tolist())


def lists(sequences: Sequences) -> list[list[int]]:
    return [sequences.items_of(user).tolist() for user in range(sequences.num_users)]


@given(users=users)
def test_leave_one_out_when_compared_with_a_loop_then_equal(users: Users) -> None:
    split = Split.leave_one_out(jagged(users))
    items = [[item for item, _ in rows] for rows in users]
    asked = [user for user, row in enumerate(items) if len(row) >= 3]
    assert lists(split.fit) == [row[:-2] if len(row) >= 3 else row for row in items]
    assert split.validation.users.tolist() == split.test.users.tolist() == asked
    assert lists(split.validation.query) == [items[user][:-2] for user in asked]
    assert lists(split.validation.targets) == [items[user][-2:-1] for user in asked]
    assert lists(split.test.query) == [items[user][:-1] for user in asked]
    assert lists(split.test.targets) == [items[user][-1:] for user in asked]


@given(users=users)
def test_leave_one_out_when_parts_are_put_together_then_every_event_once(users: Users) -> None:
    sequences = jagged(users)
    split = Split.leave_one_out(sequences)
    parts = marks(split.fit) + marks(split.validation.targets) + marks(split.test.targets)
    assert sorted(parts) == marks(sequences)
    assert set(marks(split.validation.query)).isdisjoint(marks(split.validation.targets))
    assert set(marks(split.test.query)).isdisjoint(marks(split.test.targets))


@given(users=users, cuts=st.tuples(st.integers(1, 30), st.integers(1, 30)).filter(lambda cuts: cuts[0] < cuts[1]))
def test_global_temporal_when_compared_with_a_loop_then_equal(users: Users, cuts: tuple[int, int]) -> None:
    first, second = cuts
    sequences = jagged(users)

    def asked(start: int, stop: int) -> list[int]:
        return [
            user
            for user, rows in enumerate(users)
            if any(ts < start for _, ts in rows) and any(start <= ts < stop for _, ts in rows)
        ]

    if not asked(first, second) or not asked(second, 99):
        with pytest.raises(DataError, match="users with events on both sides"):
            Split.global_temporal(sequences, validation_from_us=first, test_from_us=second)
        return
    split = Split.global_temporal(sequences, validation_from_us=first, test_from_us=second)
    assert lists(split.fit) == [[item for item, ts in rows if ts < first] for rows in users]
    for holdout, start, stop in ((split.validation, first, second), (split.test, second, 99)):
        chosen = [users[user] for user in asked(start, stop)]
        assert holdout.users.tolist() == asked(start, stop)
        assert lists(holdout.query) == [[item for item, ts in rows if ts < start] for rows in chosen]
        assert lists(holdout.targets) == [[item for item, ts in rows if start <= ts < stop] for rows in chosen]
    cold = sum(any(ts >= second for _, ts in rows) and all(ts >= second for _, ts in rows) for rows in users)
    assert split.num_unasked == cold


@given(users=users, cut=st.integers(1, 29))
def test_global_temporal_when_an_event_is_later_than_the_cut_then_no_query_and_no_fit_holds_it(
    users: Users, cut: int
) -> None:
    try:
        split = Split.global_temporal(jagged(users), validation_from_us=cut, test_from_us=cut + 1)
    except DataError:
        return
    assert (split.fit.ts < cut).all()
    assert (split.validation.query.ts < cut).all()
    assert (split.test.query.ts < cut + 1).all()
    assert (split.test.targets.ts >= cut + 1).all()
    for holdout in (split.validation, split.test):
        _is_sound(holdout)


def _is_sound(holdout: Holdout) -> None:
    assert holdout.num_users == holdout.query.num_users == holdout.targets.num_users
    assert (holdout.query.lengths > 0).all()
    assert (holdout.targets.lengths > 0).all()


def test_global_temporal_when_target_types_are_named_then_only_they_are_answers() -> None:
    sequences = Sequences.from_arrays(
        offsets=[0, 5], item=[2, 3, 4, 5, 6], ts=[0, 1, 1, 2, 2], event_type=[1, 1, 9, 9, 1]
    )
    split = Split.global_temporal(sequences, validation_from_us=1, test_from_us=2, target_event_types=(9,))
    assert lists(split.validation.targets) == [[4]]
    assert lists(split.test.targets) == [[5]]
    assert lists(split.test.query) == [[2, 3, 4]]  # a query keeps every type


def test_global_temporal_when_cuts_do_not_rise_then_refused() -> None:
    with pytest.raises(DataError, match="expected validation_from_us < test_from_us, found 5 and 5"):
        Split.global_temporal(jagged([[(2, 1)]]), validation_from_us=5, test_from_us=5)
