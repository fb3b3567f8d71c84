"""One list of new and known items, beside a loop over users."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.chances.logistic import QuadraticLogit, chance_of
from features.errors import DataError, ReleaseError
from features.files import write_json
from features.recommendations import Recommendations
from features.repeats.blend import NEW, REPEAT, ForYouBlend

BLEND = ForYouBlend(
    new=QuadraticLogit.plain(NEW, {"cosine": 2.0, "expected": 0.3, "known": -0.1}, bias=-2.0),
    repeat_timed=QuadraticLogit.plain(REPEAT, {"log_odds": 1.1, "cosine": 0.5, "expected": 0.2}, bias=0.1),
    repeat_untimed=QuadraticLogit.plain(REPEAT, {"log_odds": 0.7}),
)
Lists = list[list[tuple[int, float]]]


def of(rows: Lists) -> Recommendations:
    ranked = [sorted(row, key=lambda entry: -entry[1]) for row in rows]
    return Recommendations.from_lists(
        [np.array([item for item, _ in row], np.int32) for row in ranked],
        [np.array([score for _, score in row], np.float32) for row in ranked],
    )


@st.composite
def both(draw: st.DrawFn) -> tuple[Lists, Lists]:
    """New items are even, repeats odd: an item cannot be both."""
    num_users = draw(st.integers(1, 4))
    chance = st.integers(1, 99).map(lambda percent: percent / 100)
    row = st.dictionaries(st.integers(1, 9), chance, max_size=6).map(lambda found: list(found.items()))
    new = [[(2 * item, 2 * score - 1) for item, score in draw(row)] for _ in range(num_users)]
    return new, [[(2 * item + 1, score) for item, score in draw(row)] for _ in range(num_users)]


@given(lists=both(), k=st.integers(1, 8), timing=st.booleans())
def test_combine_when_compared_with_a_loop_then_the_likeliest_k(
    lists: tuple[Lists, Lists], k: int, timing: bool
) -> None:
    new, repeats = of(lists[0]), of(lists[1])
    cosines = np.linspace(-1, 1, len(repeats.item)).astype(np.float32)
    found = BLEND.combine(new, repeats, cosines, k=k, timing=timing)
    assert found.num_lists == new.num_lists
    for user in range(new.num_lists):
        items, scores = found.list_of(user)
        expected = slow_scores(new, repeats, cosines, user, timing=timing)
        assert len(items) == min(k, len(expected))
        assert len(set(items.tolist())) == len(items)
        assert (np.diff(scores) <= 0).all()
        assert scores == pytest.approx([expected[item] for item in items.tolist()], rel=1e-5)
        assert sorted(expected.values(), reverse=True)[: len(items)] == pytest.approx(scores, rel=1e-5)


def slow_scores(
    new: Recommendations, repeats: Recommendations, cosines: np.ndarray, user: int, *, timing: bool
) -> dict[int, float]:
    (known, chances), (unmet, near) = repeats.list_of(user), new.list_of(user)
    own = cosines[repeats.offsets[user] : repeats.offsets[user + 1]]
    habits = [np.log(chances.astype(float).sum() + 0.01), np.log(1 + len(known))]
    weights = BLEND.repeat_timed if timing else BLEND.repeat_untimed
    found = {}
    for item, chance, cosine in zip(known.tolist(), chances.astype(float), own, strict=True):
        row = np.array([[np.log(chance / (1 - chance)), cosine, *habits]])
        found[item] = float(chance_of(weights.logit(row))[0])
    for item, cosine in zip(unmet.tolist(), near, strict=True):
        found[item] = float(chance_of(BLEND.new.logit(np.array([[cosine, *habits]])))[0])
    return found


def test_combine_when_one_user_is_asked_alone_then_the_same_list() -> None:
    new = of([[(2, 0.9), (4, 0.1)], [(6, 0.5)]])
    repeats = of([[(3, 0.4)], [(5, 0.6), (7, 0.2)]])
    cosines = np.array([0.3, 0.1, -0.5], np.float32)
    together = BLEND.combine(new, repeats, cosines, k=3)
    for user, own in ((0, cosines[:1]), (1, cosines[1:])):
        alone = BLEND.combine(new.take([user]), repeats.take([user]), own, k=3)
        assert alone.item.tolist() == together.list_of(user)[0].tolist()
        assert alone.score.tolist() == together.list_of(user)[1].tolist()


def test_combine_when_a_cosine_is_missing_then_error_says_so() -> None:
    with pytest.raises(DataError, match="1 and 1 lists, 1 cosines for 2 repeats"):
        BLEND.combine(of([[]]), of([[(3, 0.4), (5, 0.2)]]), np.zeros(1, np.float32), k=3)


def test_plain_blend_when_nothing_was_learned_then_known_items_first() -> None:
    found = ForYouBlend.plain().combine(
        of([[(2, 1.0), (4, 0.9)]]), of([[(3, 0.01), (5, 0.5)]]), np.zeros(2, np.float32), k=4
    )
    assert found.item.tolist() == [5, 3, 2, 4]


def test_file_when_read_back_then_the_same_lists() -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "blend.json"
        BLEND.save(path)
        again = ForYouBlend.load(path)
        new, repeats = of([[(2, 0.9), (4, 0.1)]]), of([[(3, 0.4)]])
        one = BLEND.combine(new, repeats, np.zeros(1, np.float32), k=3)
        other = again.combine(new, repeats, np.zeros(1, np.float32), k=3)
        assert (one.item.tolist(), one.score.tolist()) == (other.item.tolist(), other.score.tolist())
        write_json(path, {"format": 9})
        with pytest.raises(ReleaseError, match="expected blend format 1, found 9"):
            ForYouBlend.load(path)
