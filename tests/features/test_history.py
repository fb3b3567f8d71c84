from __future__ import annotations

import itertools
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from features.history import NUM_GAPS, encode_history, time_gaps
from features.sequences import Sequences

SECOND = 1_000_000
rows = st.lists(
    st.tuples(st.integers(2, 9), st.integers(1, 4), st.integers(1, 10**15), st.integers(0, 5)), max_size=7
).map(lambda rows: sorted(rows, key=lambda row: row[2]))
users = st.lists(rows, max_size=5)


def jagged(users: list[list[tuple[int, int, int, int]]]) -> Sequences:
    flat = [row for rows in users for row in rows]
    item, event_type, ts, band = ([row[n] for row in flat] for n in range(4))
    offsets = np.cumsum([0, *map(len, users)])
    return Sequences.from_arrays(offsets=offsets, item=item, event_type=event_type, ts=ts, price_band=band)


def slow_gap(before_us: int, at_us: int) -> int:
    """1 under 4 s, 2 under 16 s, 3 under 64 s ... by counting."""
    bucket, limit = 1, 4.0
    while (at_us - before_us) / SECOND >= limit and bucket < NUM_GAPS - 1:
        bucket, limit = bucket + 1, limit * 4
    return bucket


@given(users=users, max_length=st.integers(1, 8))
def test_encode_history_when_compared_with_a_loop_then_equal(users: list, max_length: int) -> None:
    encoded = encode_history(jagged(users), max_length=max_length)
    expected: list[tuple[int, int, int, int]] = []
    for events in users:
        gaps = [0, *(slow_gap(a[2], b[2]) for a, b in itertools.pairwise(events))][: len(events)]
        cells = [(row[0], row[1], gap, row[3]) for row, gap in zip(events, gaps, strict=True)]
        expected += cells[-max_length:]
    assert list(zip(encoded.item, encoded.event_type, encoded.gap, encoded.price_band, strict=True)) == expected
    assert encoded.lengths.tolist() == [min(len(events), max_length) for events in users]


@given(users=users, kept=st.integers(1, 7))
def test_encode_history_when_less_history_is_kept_then_the_shared_events_are_encoded_alike(
    users: list, kept: int
) -> None:
    longer = encode_history(jagged(users), max_length=100).padded(kept)
    shorter = encode_history(jagged(users), max_length=kept).padded(kept)
    for name in longer:
        assert np.array_equal(longer[name], shorter[name])


@given(users=users)
def test_encode_history_when_users_are_encoded_one_by_one_then_equal_to_all_at_once(users: list) -> None:
    together = encode_history(jagged(users), max_length=3).padded(3)
    for user, events in enumerate(users):
        alone = encode_history(jagged([events]), max_length=3).padded(3)
        for name in together:
            assert np.array_equal(together[name][user : user + 1], alone[name])


@given(users=users, width=st.integers(1, 6))
def test_padded_when_any_width_is_asked_for_then_the_last_events_stand_at_the_right(users: list, width: int) -> None:
    encoded = encode_history(jagged(users), max_length=9)
    for name, cells in encoded.padded(width).items():
        for user in range(len(users)):
            events = getattr(encoded, name)[encoded.offsets[user] : encoded.offsets[user + 1]].tolist()[-width:]
            assert cells[user].tolist() == [0] * (width - len(events)) + events


def test_padded_when_histories_are_short_or_empty_then_right_aligned_zeros() -> None:
    sequences = Sequences.from_arrays(offsets=[0, 0, 2], item=[5, 6], event_type=[1, 2])
    cells = encode_history(sequences, max_length=9).padded()
    assert cells["item"].tolist() == [[0, 0], [5, 6]]
    nobody = encode_history(Sequences.from_arrays(offsets=[0, 0], item=[]), max_length=9).padded()
    assert nobody["item"].tolist() == [[0]]


def test_time_gaps_when_instants_are_unknown_then_zero() -> None:
    assert time_gaps(Sequences.from_arrays(offsets=[0, 3], item=[5, 6, 7])).tolist() == [0, 0, 0]


def test_time_gaps_when_on_a_power_of_four_then_in_the_next_bucket() -> None:
    # 3.999999 s -> 1, 4 s -> 2, 16 s -> 3, ten years -> the last one
    instants = np.cumsum([SECOND, 4 * SECOND - 1, 4 * SECOND, 16 * SECOND, 10 * 365 * 86_400 * SECOND])
    gaps = time_gaps(Sequences.from_arrays(offsets=[0, 5], item=[2] * 5, ts=instants))
    assert gaps.tolist() == [0, 1, 2, 3, NUM_GAPS - 1]
    assert math.log(10 * 365 * 86_400, 4) > NUM_GAPS - 3
