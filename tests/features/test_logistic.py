"""The logistic regression beside a generic optimiser and worlds whose weights are known."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.optimize import minimize

from features.chances.logistic import OUTCOMES_A_COEFFICIENT, QuadraticLogit, chance_of


def test_fit_when_compared_with_a_generic_optimiser_then_equal() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 2)) * [1, 5] + [0, 10]
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    y = rng.random(600) < chance_of(-1 + z[:, 0] - 0.5 * z[:, 1] + 0.3 * z[:, 0] * z[:, 1])
    fitted = QuadraticLogit.fit(("a", "b"), x, y)
    assert fitted is not None
    design = np.column_stack([np.ones(600), z, z[:, 0] ** 2, z[:, 0] * z[:, 1], z[:, 1] ** 2])

    def loss(w: np.ndarray) -> float:
        logit = design @ w
        return float(np.logaddexp(0, logit).sum() - logit[y].sum() + 0.5 * (w[1:] ** 2).sum())

    slow = minimize(loss, np.zeros(6), method="BFGS", options={"gtol": 1e-8}).x
    found = [fitted.bias, *fitted.linear, *fitted.square[np.triu_indices(2)]]
    assert found == pytest.approx(slow, abs=2e-3)
    assert fitted.logit(x) == pytest.approx(design @ slow, abs=5e-3)


def test_fit_when_outcomes_are_few_then_linear_and_with_fewer_none() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(500, 3))
    y = np.arange(500) < 3 * OUTCOMES_A_COEFFICIENT
    linear = QuadraticLogit.fit(("a", "b", "c"), x, y)
    assert linear is not None
    assert not linear.square.any()
    assert QuadraticLogit.fit(("a", "b", "c"), x, np.arange(500) < 3 * OUTCOMES_A_COEFFICIENT - 1) is None
    assert QuadraticLogit.fit(("a", "b", "c"), x, ~y) is not None, "the rarer kind counts, whichever it is"


def test_fit_when_a_variable_never_varies_then_it_weighs_nothing() -> None:
    rng = np.random.default_rng(2)
    x = np.column_stack([rng.normal(size=400), np.full(400, 7.0)])
    fitted = QuadraticLogit.fit(("a", "b"), x, rng.random(400) < chance_of(x[:, 0]))
    assert fitted is not None
    assert fitted.linear[1] == 0
    moved = fitted.logit(np.array([[1.0, 7.0]]))
    assert moved == pytest.approx(fitted.logit(np.array([[1.0, 7.0]])))


def test_fit_when_values_are_extreme_then_the_loss_still_falls_to_its_least() -> None:
    rng = np.random.default_rng(3)
    x = rng.lognormal(0, 2, size=(4000, 2))  # products of standardised values reach the thousands
    y = rng.random(4000) < chance_of(-4 + np.log(x[:, 0]))
    fitted = QuadraticLogit.fit(("a", "b"), x, y)
    assert fitted is not None
    assert chance_of(fitted.logit(x)).mean() == pytest.approx(y.mean(), rel=0.01)


def test_logit_when_a_row_lies_outside_what_was_seen_then_as_at_the_edge() -> None:
    rng = np.random.default_rng(5)
    x = rng.uniform(-1, 1, size=(2000, 1))
    fitted = QuadraticLogit.fit(("a",), x, rng.random(2000) < chance_of(-1 - 2 * x[:, 0] ** 2))
    assert fitted is not None
    assert fitted.square[0, 0] < 0
    assert fitted.logit(np.array([[50.0]])) == pytest.approx(fitted.logit(np.array([[x.max()]])))


def test_dict_when_read_back_then_the_same_logits() -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=(300, 2))
    fitted = QuadraticLogit.fit(("a", "b"), x, rng.random(300) < 0.5)
    assert fitted is not None
    again = QuadraticLogit.from_dict(json.loads(json.dumps(fitted.to_dict())))
    assert again.logit(x).tolist() == fitted.logit(x).tolist()
    assert again.names == ("a", "b")


@pytest.mark.parametrize("bend", [-1.5, 0.0, 0.7])
def test_most_below_when_compared_with_every_smaller_value_then_the_largest(bend: float) -> None:
    rng = np.random.default_rng(1)
    model = QuadraticLogit(
        names=("a", "b"),
        center=np.array([0.2, 1.0]),
        scale=np.array([0.5, 2.0]),
        low=np.array([-2.0, -1.0]),
        high=np.array([1.5, 1.0]),
        bias=-1.0,
        linear=np.array([0.4, -0.3]),
        square=np.array([[bend, 0.6], [0.0, 0.2]]),
    )
    x = rng.normal(size=(50, 2)) * [1, 3]
    slow = [max(model.logit(np.column_stack([np.linspace(-5, a, 4_000), np.full(4_000, b)]))) for a, b in x]
    assert model.most_below(x, "a") == pytest.approx(slow, abs=2e-3)
    assert (model.most_below(x, "a") >= model.logit(x)).all()
