"""Stored, live and inline events joined in order of time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from serving.history.stored import UserEvents, to_sequences

ROWS = st.lists(st.tuples(st.integers(2, 4), st.integers(1, 2), st.integers(0, 6), st.just(1)), max_size=8).map(
    lambda rows: sorted(rows, key=lambda row: row[2])
)


def rows_of(events: UserEvents) -> list[tuple[int, int, int, int]]:
    return list(zip(*(getattr(events, n).tolist() for n in ("item", "event_type", "ts", "price_band")), strict=True))


@given(st.lists(ROWS, min_size=1, max_size=3))
def test_merged_when_sources_overlap_then_each_event_counts_in_the_first_that_holds_it(
    sources: list[list[tuple[int, int, int, int]]],
) -> None:
    expected: list[tuple[int, int, int, int]] = []
    for source in sources:
        held = set(expected)
        expected += [event for event in source if event not in held]
    expected.sort(key=lambda event: event[2])  # stable: at one instant, earlier sources first
    assert rows_of(UserEvents.merged(*(UserEvents.from_rows(rows) for rows in sources))) == expected


def test_to_sequences_when_users_are_lined_up_then_each_keeps_its_events() -> None:
    one, other = UserEvents.from_rows([(2, 1, 5, 1), (3, 1, 6, 0)]), UserEvents.from_rows([(4, 2, 1, 2)])
    lined_up = to_sequences([one, other])
    assert lined_up.offsets.tolist() == [0, 2, 3]
    assert lined_up.item.tolist() == [2, 3, 4]
    assert lined_up.ts.tolist() == [5, 6, 1]
