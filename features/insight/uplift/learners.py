"""Models of each customer's uplift out of two ordinary models of the outcome, fitted with scikit-learn.

    t     uplift = m1(x) - m0(x): what the treated do less what the held-out do
    x     each arm's outcome less the other arm's model is modelled again, and the two are weighed by the other arm's share
    dr    one model of the doubly robust score, whose mean is the effect whatever m0 and m1 are:
          m1 - m0 + w (y - m1) / e - (1 - w) (y - m0) / (1 - e)

m1 and m0 are means of the outcome given attributes x, w is 1 for the treated, e the share treated. Whatever x and dr
learn from is of customers that m1 and m0 did not see (cross-fitting).

Sources: Künzel, Sekhon, Bickel, Yu 2019, "Metalearners for estimating heterogeneous treatment effects" (t, x);
Kennedy 2023, "Towards optimal doubly robust estimation of heterogeneous causal effects" (dr); Chernozhukov et al. 2018,
"Double/debiased machine learning for treatment and structural parameters" (cross-fitting).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import numpy as np
import numpy.typing as npt

from features.errors import ConfigError, DataError
from features.insight.definitions import check_choice, check_whole
from features.insight.uplift.trial import Floats, Trial

Learner = Literal["t", "x", "dr"]
Base = Literal["linear", "trees"]
LEARNERS: Final[tuple[Learner, ...]] = get_args(Learner)
BASES: Final[tuple[Base, ...]] = get_args(Base)
_PENALTIES: Final = np.logspace(-1, 5, 13)  # of the ridge, chosen by leaving one out
_TREES: Final = {"max_iter": 60, "learning_rate": 0.05, "max_leaf_nodes": 6, "early_stopping": False}
_LEAST_LEAF: Final = 20
_LEAVES: Final = 50  # so many leaves of the least size would hold all customers

Ints = npt.NDArray[np.int64]
Predict = Callable[[Floats], Floats]


@dataclass(frozen=True, kw_only=True)
class UpliftSettings:
    """How uplift is modelled.

    Args:
        learner: see the module.
        base: ``linear``: logistic regression of outcomes of 0 or 1, ridge regression of others; ``trees``: boosted.
        folds: of customers, for cross-fitting and for scores of customers that the model has not seen.
        seed: of the folds and the trees.
    """

    learner: Learner = "dr"
    base: Base = "linear"
    folds: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("learner", self.learner, LEARNERS)
        check_choice("base", self.base, BASES)
        check_whole("folds", self.folds, least=2, most=50)


DEFAULT: Final = UpliftSettings()


def fit_learner(x: Floats, trial: Trial, settings: UpliftSettings) -> Predict:
    """Return what gives the uplift of customers from their attributes, ``[N, F]`` -> ``[N]``.

    Raises:
        ConfigError: scikit-learn is not installed.
        DataError: an arm has too few customers for the folds.
    """
    if settings.learner == "t":
        held, treated = _arm_models(x, trial, settings)
        return lambda other: treated(other) - held(other)
    arms = cross_fitted(x, trial, settings)
    if settings.learner == "x":
        return _x_learner(x, trial, arms, settings)
    return _regression(x, robust_scores(trial, arms), settings)


def cross_fitted(x: Floats, trial: Trial, settings: UpliftSettings) -> tuple[Floats, Floats]:
    """Return m0 and m1 of every customer, each from models of the other folds, ``[N]`` both."""
    held, treated = np.zeros(len(x)), np.zeros(len(x))
    fold = folds(trial, settings)
    for number in range(settings.folds):
        rest, own = fold != number, fold == number
        models = _arm_models(x[rest], Trial(outcome=trial.outcome[rest], treated=trial.treated[rest]), settings)
        held[own], treated[own] = (model(x[own]) for model in models)
    return held, treated


def robust_scores(trial: Trial, arms: tuple[Floats, Floats]) -> Floats:
    """Return the doubly robust score of each customer, ``[N]``; its mean is the campaign's effect a customer."""
    (held, treated), w, share = arms, trial.treated, trial.share_treated
    return treated - held + w * (trial.outcome - treated) / share - (~w) * (trial.outcome - held) / (1 - share)


def folds(trial: Trial, settings: UpliftSettings) -> Ints:
    """Return a fold of each customer, at random; arms and outcomes above 0 are spread evenly over them, ``[N]``."""
    rng = np.random.default_rng(settings.seed)
    fold = np.zeros(trial.num_customers, np.int64)
    for arm in (False, True):
        for came in (False, True):
            rows = np.flatnonzero((trial.treated == arm) & ((trial.outcome > 0) == came))
            fold[rng.permutation(rows)] = (np.arange(len(rows)) + int(rng.integers(settings.folds))) % settings.folds
        if min(np.bincount(fold[trial.treated == arm], minlength=settings.folds)) < 1:
            name = "treated" if arm else "control"
            raise DataError(
                f"uplift: expected a customer of the {name} group in each of {settings.folds} folds, found "
                f"{(trial.treated == arm).sum()} customers in it; ask for fewer folds."
            )
    return fold


def _arm_models(x: Floats, trial: Trial, settings: UpliftSettings) -> tuple[Predict, Predict]:
    """Return m0 and m1."""
    fit = _chance if trial.is_yes_or_no else _regression
    held, treated = (fit(x[rows], trial.outcome[rows], settings) for rows in (~trial.treated, trial.treated))
    return held, treated


def _x_learner(x: Floats, trial: Trial, arms: tuple[Floats, Floats], settings: UpliftSettings) -> Predict:
    (held, treated), w, share = arms, trial.treated, trial.share_treated
    of_treated = _regression(x[w], (trial.outcome - held)[w], settings)
    of_held = _regression(x[~w], (treated - trial.outcome)[~w], settings)
    return lambda other: share * of_held(other) + (1 - share) * of_treated(other)


def _chance(x: Floats, y: Floats, settings: UpliftSettings) -> Predict:
    if y.min() == y.max():  # nobody came, or everybody: there is nothing to tell them apart by
        return lambda other: np.full(len(other), y[0])
    linear, trees = _library()
    if settings.base == "linear":
        model = linear.LogisticRegression(C=1.0, max_iter=1000)
    else:
        model = trees.HistGradientBoostingClassifier(**_TREES, **_leaf(len(y)), random_state=settings.seed)
    fitted = model.fit(x, y > 0)
    return lambda other: np.asarray(fitted.predict_proba(other)[:, 1], np.float64)


def _regression(x: Floats, y: Floats, settings: UpliftSettings) -> Predict:
    linear, trees = _library()
    if settings.base == "linear":
        model = linear.RidgeCV(alphas=_PENALTIES)
    else:
        model = trees.HistGradientBoostingRegressor(**_TREES, **_leaf(len(y)), random_state=settings.seed)
    fitted = model.fit(x, y)
    return lambda other: np.asarray(fitted.predict(other), np.float64)


def _leaf(num_rows: int) -> dict[str, int]:
    return {"min_samples_leaf": max(_LEAST_LEAF, num_rows // _LEAVES)}


def _library() -> tuple[Any, Any]:
    """Return scikit-learn's linear models and trees, which only this subject needs."""
    try:
        from sklearn import ensemble, linear_model  # type: ignore[import-untyped] # noqa: PLC0415
    except ImportError:
        raise ConfigError(
            "uplift: expected the package 'scikit-learn', found none; run `pip install scikit-learn`."
        ) from None
    return linear_model, ensemble
