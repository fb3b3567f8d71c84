"""EASE and ALS beside the plain definitions."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from features.errors import ConfigError
from features.sequences import Sequences
from training.evaluation.baselines import ALS, Ease
from training.evaluation.baselines import als as als_module
from training.evaluation.baselines import ease as ease_module
from training.evaluation.baselines.ease import item_weights

V = 8
CANDIDATES = np.arange(V) >= 3  # item 2 informs, and is never shown

logs = st.lists(st.lists(st.integers(2, V - 1), max_size=7), min_size=1, max_size=6)


def sequences(rows: list[list[int]]) -> Sequences:
    offsets = np.cumsum([0] + [len(row) for row in rows])
    return Sequences.from_arrays(offsets=offsets, item=[item for row in rows for item in row])


def plain_weights(rows: list[list[int]], regularisation: float) -> np.ndarray:
    """Steck 2019, figure 1, over all V codes in float64."""
    matrix = np.zeros((len(rows), V))
    for user, row in enumerate(rows):
        matrix[user, row] = 1
    inverse = np.linalg.inv(matrix.T @ matrix + regularisation * np.eye(V))
    weights = inverse / -np.diag(inverse)
    np.fill_diagonal(weights, 0)
    return weights


@settings(deadline=None)
@given(log=logs, asked=logs, regularisation=st.sampled_from([1.0, 100.0]))
def test_ease_when_compared_with_a_plain_inverse_then_scores_are_equal(log, asked, regularisation) -> None:
    weights = plain_weights(log, regularisation)
    met = {item for row in log for item in row}
    fitted = Ease.fit(sequences(log), candidates=CANDIDATES, regularisation=regularisation)
    found = fitted.recommend(sequences(asked), k=V, exclude_seen=False)
    for user, row in enumerate(asked):
        expected = sum((0.6**age * weights[item] for age, item in enumerate(reversed(row))), np.zeros(V))
        items, scores = found.list_of(user)
        shown = {item for item in met if CANDIDATES[item]} if met & set(row) else set()
        assert set(items.tolist()) == shown
        assert scores == pytest.approx(expected[items], abs=1e-5)


@pytest.mark.parametrize("rows_at_once", [3, 50, 1024])
def test_item_weights_when_items_pass_a_block_then_the_halves_mirror(rows_at_once: int, monkeypatch) -> None:
    monkeypatch.setattr(ease_module, "_ROWS_AT_ONCE", rows_at_once)
    matrix = (np.random.default_rng(0).random((80, 50)) < 0.2).astype(np.float32)
    inverse = np.linalg.inv(matrix.T.astype(float) @ matrix + 10 * np.eye(50))
    expected = inverse / -np.diag(inverse)
    np.fill_diagonal(expected, 0)
    found = item_weights(sparse.csr_array(matrix), regularisation=10)
    assert found == pytest.approx(expected, abs=1e-5)
    assert found.flags["C_CONTIGUOUS"], "each product would copy it"


def test_ease_when_the_catalogue_is_too_large_then_error_says_what_it_would_take() -> None:
    with pytest.raises(
        ConfigError, match=r"at most 2 items with an event, found 3, .* raise max_items, or use item-kNN"
    ):
        Ease.fit(sequences([[2, 3, 4]]), candidates=CANDIDATES, max_items=2)


def test_ease_when_regularisation_is_zero_then_refused() -> None:
    with pytest.raises(ConfigError, match="expected regularisation above 0, found 0"):
        Ease.fit(sequences([[2, 3]]), candidates=CANDIDATES, regularisation=0)


def test_ease_when_items_are_twins_then_codes_do_not_choose() -> None:
    # Equal on paper, and apart in the last bit: what decides then must have nothing to do with an item's code.
    num_items = 1_002
    fitted = Ease.fit(sequences([list(range(2, num_items))] * 3), candidates=np.arange(num_items) >= 2)
    shown = fitted.recommend(sequences([[2]]), k=100, exclude_seen=True).item
    # 100 of 999 drawn at random have a mean within 5 standard errors (27.4) of 502; the lowest codes have 52.5.
    assert abs(shown.mean() - 502) < 5 * 27.4


needs_implicit = pytest.mark.skipif(importlib.util.find_spec("implicit") is None, reason="implicit is not installed")


@needs_implicit
@settings(max_examples=15, deadline=None)
@given(rows=logs, exclude_seen=st.booleans())
def test_als_when_asked_then_it_keeps_the_contract(rows: list[list[int]], exclude_seen: bool) -> None:
    fitted = ALS.fit(sequences(rows), candidates=CANDIDATES, factors=4)
    found = fitted.recommend(sequences(rows), k=5, exclude_seen=exclude_seen)
    met = {item for row in rows for item in row}
    for user, row in enumerate(rows):
        items = found.list_of(user)[0].tolist()
        assert len(items) <= 5
        assert len(set(items)) == len(items)
        assert CANDIDATES[items].all()
        assert set(items) <= met
        assert row or not items
        assert not exclude_seen or not set(items) & set(row)


@needs_implicit
def test_als_when_solved_for_a_history_then_scores_are_the_closed_form() -> None:
    log = sequences([[2, 3, 4], [3, 4], [5, 6], [5, 6, 7]])
    fitted = ALS.fit(log, candidates=CANDIDATES, factors=3, alpha=5.0, regularisation=0.5)
    items = np.asarray(fitted.model.item_factors, np.float64)
    # Hu, Koren and Volinsky 2008, equation 4; implicit gives an event the confidence alpha, not 1 + alpha.
    confidence = np.ones(V)
    confidence[[3, 4]] = 5.0
    wanted = np.zeros(V)
    wanted[[3, 4]] = 1.0
    solved = np.linalg.solve(items.T * confidence @ items + 0.5 * np.eye(3), items.T @ (confidence * wanted))
    found, scores = fitted.recommend(sequences([[4, 3]]), k=V, exclude_seen=False).list_of(0)
    assert scores == pytest.approx((items @ solved)[found], abs=1e-4)


@needs_implicit
def test_als_when_two_worlds_never_meet_then_lists_stay_in_theirs() -> None:
    rng = np.random.default_rng(0)
    rows = [rng.choice([3, 4, 5] if user % 2 else [6, 7, 2], 2, replace=False).tolist() for user in range(60)]
    fitted = ALS.fit(sequences(rows), candidates=CANDIDATES, factors=2)
    found = fitted.recommend(sequences([[3], [6]]), k=1, exclude_seen=True)
    assert found.list_of(0)[0][0] in {4, 5}
    assert found.list_of(1)[0][0] == 7


def test_als_when_its_package_is_missing_then_error_says_what_to_install(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(als_module, "als_is_installed", lambda: False)
    with pytest.raises(ConfigError, match=r"found none; run `pip install footfall\[baselines\]`"):
        ALS.fit(sequences([[2, 3]]), candidates=CANDIDATES)
