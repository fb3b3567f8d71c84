from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import DataError
from features.sequences import Sequences
from training.evaluation.baselines import ItemKNN, PersonalFrequency, Popularity
from training.evaluation.baselines.item_knn import tie_order
from training.evaluation.recommender import Recommender

V = 8
CANDIDATES = np.arange(V) >= 2
TIES = tie_order(np.arange(V)).tolist()
DAY = 86_400_000_000

logs = st.lists(st.lists(st.integers(2, V - 1), max_size=7), min_size=1, max_size=6)


def sequences(rows: list[list[int]], **arrays: list[int]) -> Sequences:
    offsets = np.cumsum([0] + [len(row) for row in rows])
    return Sequences.from_arrays(offsets=offsets, item=[item for row in rows for item in row], **arrays)


@pytest.mark.parametrize(
    "make",
    [
        lambda fit: Popularity.fit(fit, candidates=CANDIDATES),
        lambda _: PersonalFrequency(candidates=CANDIDATES),
        lambda fit: ItemKNN.fit(fit, candidates=CANDIDATES),
    ],
)
@given(rows=logs, k=st.integers(1, 9), exclude_seen=st.booleans())
def test_baseline_when_asked_then_it_keeps_the_contract(make, rows, k, exclude_seen) -> None:
    log = sequences(rows)
    recommender: Recommender = make(log)
    found = recommender.recommend(log, k=k, exclude_seen=exclude_seen)
    assert found.num_lists == len(rows)
    for user, row in enumerate(rows):
        items, _ = found.list_of(user)
        assert len(items) <= k
        assert len(set(items.tolist())) == len(items)
        assert CANDIDATES[items].all()
        assert not exclude_seen or not set(items.tolist()) & set(row)


def test_popularity_when_items_were_never_bought_then_they_are_not_shown() -> None:
    fitted = Popularity.fit(sequences([[2, 3, 3], [3, 4, 2]]), candidates=CANDIDATES)
    found = fitted.recommend(sequences([[]]), k=10, exclude_seen=True)
    assert (found.item.tolist(), found.score.tolist()) == ([3, 2, 4], [3, 2, 1])


def test_popularity_when_a_half_life_is_given_then_old_events_fade() -> None:
    log = sequences([[2, 2, 2, 3, 3]], ts=[0, 0, 0, 30 * DAY, 30 * DAY])
    assert Popularity.fit(log, candidates=CANDIDATES).score[[2, 3]].tolist() == [3, 2]
    assert Popularity.fit(log, candidates=CANDIDATES, half_life_days=15).score[[2, 3]].tolist() == [0.75, 2]


def test_popularity_when_instants_are_unknown_then_half_life_is_refused() -> None:
    with pytest.raises(DataError, match="expected instants for half_life_days, found none"):
        Popularity.fit(sequences([[2]]), candidates=CANDIDATES, half_life_days=7)


@given(rows=logs)
def test_personal_frequency_when_repeats_count_then_order_is_count_and_then_recency(rows: list[list[int]]) -> None:
    found = PersonalFrequency(candidates=CANDIDATES).recommend(sequences(rows), k=V, exclude_seen=False)
    for user, row in enumerate(rows):
        last = {item: position for position, item in enumerate(row)}
        expected = sorted(set(row), key=lambda item: (-row.count(item), -last[item]))
        assert found.list_of(user)[0].tolist() == expected


@given(log=logs, asked=logs, num_neighbours=st.integers(1, V), shrinkage=st.sampled_from([0.0, 10.0]))
def test_item_knn_when_compared_with_plain_loops_then_scores_are_equal(log, asked, num_neighbours, shrinkage) -> None:
    users = {item: {u for u, row in enumerate(log) if item in row} for item in range(V)}

    def similarity(i: int, j: int) -> float:
        return len(users[i] & users[j]) / max(np.sqrt(len(users[i]) * len(users[j])) + shrinkage, 1e-9)

    neighbours = {
        i: sorted(
            (j for j in range(V) if j != i and users[i] & users[j]),
            key=lambda j: (np.float32(similarity(i, j)), TIES[j]),
            reverse=True,
        )
        for i in range(V)
    }
    fitted = ItemKNN.fit(
        sequences(log), candidates=CANDIDATES, decay=0.6, shrinkage=shrinkage, num_neighbours=num_neighbours
    )
    found = fitted.recommend(sequences(asked), k=V, exclude_seen=False)
    for user, row in enumerate(asked):
        expected = np.zeros(V)
        for age, item in enumerate(reversed(row)):
            for j in neighbours[item][:num_neighbours]:
                expected[j] += 0.6**age * similarity(item, j)
        items, scores = found.list_of(user)
        assert sorted(items.tolist()) == np.flatnonzero(expected).tolist()
        assert scores == pytest.approx(expected[items], rel=1e-5)


def test_item_knn_when_items_pass_a_chunk_then_neighbours_stand_in_their_rows() -> None:
    num_items = 2_500
    log = sequences([[item, item + 1] for item in range(2, num_items - 1)])
    fitted = ItemKNN.fit(log, candidates=np.arange(num_items) >= 2, num_neighbours=5)
    assert sorted(fitted.recommend(sequences([[2048]]), k=5, exclude_seen=True).item.tolist()) == [2047, 2049]


def test_item_knn_when_neighbours_are_equal_then_codes_do_not_choose() -> None:
    # Item 2 stands once beside each of 1,000 others; codes are popularity over a log that holds the test window.
    num_items = 1_002
    log = sequences([[2, item] for item in range(3, num_items)])
    fitted = ItemKNN.fit(log, candidates=np.arange(num_items) >= 2, num_neighbours=100)
    kept = fitted.similarity[[2]].indices
    assert len(kept) == 100
    # 100 of 999 drawn at random have a mean within 5 standard errors (27.4) of 502; the lowest codes have 52.5.
    assert abs(kept.mean() - 502) < 5 * 27.4


def test_tie_order_when_codes_differ_then_so_do_their_places() -> None:
    found = tie_order(np.arange(100_000))
    assert len(np.unique(found)) == 100_000
    assert found.min() >= 0
    assert found.max() < 1 << 32
    assert abs(np.corrcoef(found, np.arange(100_000))[0, 1]) < 0.02
