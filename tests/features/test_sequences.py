from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import ConfigError, DataError
from features.sequences import EVENT_ARRAYS, Sequences
from features.vocabulary import PAD

Event = tuple[int, int, int, int]  # item, event type, ts, price band
Users = list[list[Event]]

events = st.tuples(st.integers(2, 9), st.integers(1, 4), st.integers(0, 50), st.integers(0, 5))
users = st.lists(st.lists(events, max_size=6).map(lambda rows: sorted(rows, key=lambda row: row[2])), max_size=6)


def jagged(users: Users) -> Sequences:
    columns: Any = list(zip(*(row for rows in users for row in rows), strict=True)) or [[], [], [], []]
    offsets = np.cumsum([0, *(len(rows) for rows in users)])
    return Sequences.from_arrays(offsets=offsets, **dict(zip(EVENT_ARRAYS, columns, strict=True)))


def nested(sequences: Sequences) -> Users:
    rows = list(zip(*(getattr(sequences, name).tolist() for name in EVENT_ARRAYS), strict=True))
    bounds = sequences.offsets.tolist()
    return [rows[start:stop] for start, stop in itertools.pairwise(bounds)]


@given(users=users, length=st.integers(1, 8))
def test_padded_when_compared_with_a_loop_then_equal(users: Users, length: int) -> None:
    cells, mask = jagged(users).padded(length)
    kept = [[row[0] for row in rows][-length:] for rows in users]
    assert cells.tolist() == [[PAD] * (length - len(items)) + items for items in kept]
    assert mask.tolist() == [[False] * (length - len(items)) + [True] * len(items) for items in kept]


@given(users=users, n=st.integers(0, 7))
def test_last_and_without_last_when_compared_with_slices_then_equal(users: Users, n: int) -> None:
    sequences = jagged(users)
    assert nested(sequences.last(n)) == [rows[max(len(rows) - n, 0) :] for rows in users]
    assert nested(sequences.without_last(n)) == [rows[: max(len(rows) - n, 0)] for rows in users]


@given(users=users, start=st.none() | st.integers(0, 50), stop=st.none() | st.integers(0, 50))
def test_between_when_compared_with_a_loop_then_start_is_in_and_stop_is_out(
    users: Users, start: int | None, stop: int | None
) -> None:
    kept = [
        [row for row in rows if (start is None or row[2] >= start) and (stop is None or row[2] < stop)]
        for rows in users
    ]
    assert nested(jagged(users).between(start, stop)) == kept


@given(users=users, data=st.data())
def test_take_when_users_repeat_or_swap_then_each_brings_its_events(users: Users, data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.integers(0, len(users) - 1), max_size=5)) if users else []
    assert nested(jagged(users).take(chosen)) == [users[user] for user in chosen]


@given(users=users, num_parts=st.integers(1, 5))
def test_part_when_put_together_then_all_users_in_order_and_no_part_has_a_user_too_many(
    users: Users, num_parts: int
) -> None:
    parts = [jagged(users).part(rank, num_parts) for rank in range(num_parts)]
    assert [rows for part in parts for rows in nested(part)] == users
    share, longest = sum(map(len, users)) / num_parts, max(map(len, users), default=0)
    assert all(abs(part.num_events - share) <= longest for part in parts)


def test_part_when_mapped_from_disk_then_views_of_the_file(tmp_path: Path) -> None:
    jagged([[(2, 1, 5, 0)] * 4, [(3, 1, 5, 0)], [(4, 1, 5, 0)]]).save(tmp_path)
    whole = Sequences.load(tmp_path)
    second = whole.part(1, 2)  # 6 events: one user has 4 of them, and 2 are left
    assert nested(second) == [[(3, 1, 5, 0)], [(4, 1, 5, 0)]]
    assert np.shares_memory(second.item, whole.item)
    with pytest.raises(ConfigError, match="expected a rank from 0 to 1, found 2"):
        whole.part(2, 2)


@given(users=users)
def test_load_when_saved_then_equal_and_mapped_from_disk(users: Users) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        jagged(users).save(Path(scratch, "s"))
        again = Sequences.load(Path(scratch, "s"))
        assert nested(again) == users
        assert isinstance(again.item, np.memmap)


@given(users=users)
def test_counts_when_compared_with_a_loop_then_equal(users: Users) -> None:
    sequences = jagged(users)
    assert (sequences.num_users, sequences.num_events) == (len(users), sum(map(len, users)))
    assert sequences.user_of_event.tolist() == [user for user, rows in enumerate(users) for _ in rows]
    assert [sequences.items_of(u).tolist() for u in range(len(users))] == [[row[0] for row in rows] for rows in users]


@pytest.mark.parametrize("offsets", [[], [1, 2], [0, 2], [0, 2, 1, 3], [0, 4]])
def test_from_arrays_when_offsets_do_not_fit_then_refused(offsets: list[int]) -> None:
    with pytest.raises(DataError, match="expected offsets that rise from 0 to 3"):
        Sequences.from_arrays(offsets=offsets, item=[2, 3, 4])


def test_from_arrays_when_instants_fall_then_refused_unless_a_user_begins_there() -> None:
    with pytest.raises(DataError, match="instants that do not fall within a user"):
        Sequences.from_arrays(offsets=[0, 1, 3], item=[2, 3, 4], ts=[9, 5, 4])
    Sequences.from_arrays(offsets=[0, 1, 3], item=[2, 3, 4], ts=[9, 4, 5])


def test_from_arrays_when_a_length_differs_then_refused() -> None:
    with pytest.raises(DataError, match=r"expected ts of shape \(2,\), found \(1,\)"):
        Sequences.from_arrays(offsets=[0, 2], item=[2, 3], ts=[1])
