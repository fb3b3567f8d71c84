"""The uplift of every customer of a campaign, told by models that have not seen that customer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from features.errors import DataError
from features.insight.experiments.estimates import ArmMean, effect, quantile
from features.insight.uplift.attributes import Encoding
from features.insight.uplift.learners import (
    DEFAULT,
    Predict,
    UpliftSettings,
    cross_fitted,
    fit_learner,
    folds,
    robust_scores,
)
from features.insight.uplift.trial import Floats, Trial


@dataclass(frozen=True, kw_only=True, eq=False)
class UpliftModel:
    """A fitted model.

    Args:
        encoding: of attributes.
        predict: of encoded attributes.
    """

    encoding: Encoding
    predict: Predict

    @classmethod
    def fit(cls, attributes: pd.DataFrame, trial: Trial, settings: UpliftSettings = DEFAULT) -> UpliftModel:
        """Fit a model on a campaign that held customers out at random.

        Args:
            attributes: one row a customer of the trial, known before the campaign: numbers and texts, some missing.
            trial: what came of it.
            settings: which model.

        Raises:
            ConfigError: scikit-learn is not installed.
            DataError: rows do not match, or attributes say nothing.
        """
        if len(attributes) != trial.num_customers:
            raise DataError(
                f"uplift: expected attributes of {trial.num_customers} customers, found {len(attributes)} rows."
            )
        encoding = Encoding.of(attributes)
        return cls(encoding=encoding, predict=fit_learner(encoding(attributes), trial, settings))

    def uplift(self, attributes: pd.DataFrame) -> Floats:
        """Return what a campaign like this one is expected to add to each customer's outcome, ``[N]``."""
        return self.predict(self.encoding(attributes))


def uplift_unseen(attributes: pd.DataFrame, trial: Trial, settings: UpliftSettings = DEFAULT) -> Floats:
    """Return each customer's uplift as told by a model of the other folds, ``[N]``: what an honest score needs."""
    found = np.zeros(trial.num_customers)
    fold = folds(trial, settings)
    for number in range(settings.folds):
        rest, own = fold != number, fold == number
        part = Trial(outcome=trial.outcome[rest], treated=trial.treated[rest])
        found[own] = UpliftModel.fit(attributes[rest], part, settings).uplift(attributes[own])
    return found


def average_effect(
    attributes: pd.DataFrame, trial: Trial, settings: UpliftSettings = DEFAULT, *, level: float = 0.95
) -> dict[str, float]:
    """Return the campaign's effect a customer, sharpened by what attributes explain: value, low, high, se.

    The mean of doubly robust scores; unbiased where customers were held out at random, however poor the models. The
    interval is normal.
    """
    x = Encoding.of(attributes)(attributes)
    found = robust_scores(trial, cross_fitted(x, trial, settings))
    value, se = float(found.mean()), float(found.std(ddof=1)) / math.sqrt(len(found))
    reach = quantile(level, len(found) - 1) * se
    return {"value": value, "low": value - reach, "high": value + reach, "se": se}


def groups_by_uplift(trial: Trial, score: Floats, *, groups: int = 5, level: float = 0.95) -> pd.DataFrame:
    """Return what the campaign truly brought in each group of equal size, highest score first.

    A useful model falls from the first group to the last. Scores must be of customers that the model has not seen.

    Args:
        trial: customers of both arms.
        score: of each, ``[N]``.
        groups: how many.
        level: of the intervals.

    Returns:
        group (from 1), customers, treated, predicted (mean score), treated_mean, control_mean, uplift, low, high
        (Welch's; missing where an arm has fewer than two customers).
    """
    row = np.argsort(-np.asarray(score), kind="stable")
    parts = [_group(number, part, trial, score, level) for number, part in enumerate(np.array_split(row, groups), 1)]
    return pd.DataFrame(parts)


def _group(number: int, rows: Any, trial: Trial, score: Floats, level: float) -> dict[str, float]:
    outcome, treated = trial.outcome[rows], trial.treated[rows]
    arms = [_mean(outcome[treated]), _mean(outcome[~treated])]
    known = all(arm.num_users > 1 for arm in arms)
    found = effect(*arms, level=level) if known else None
    return {
        "group": number,
        "customers": len(rows),
        "treated": int(treated.sum()),
        "predicted": float(score[rows].mean()) if len(rows) else math.nan,
        "treated_mean": arms[0].value,
        "control_mean": arms[1].value,
        "uplift": arms[0].value - arms[1].value,
        "low": found.low if found else math.nan,
        "high": found.high if found else math.nan,
    }


def _mean(values: Floats) -> ArmMean:
    number = len(values)
    mean = float(values.mean()) if number else math.nan
    variance = float(values.var(ddof=1)) / number if number > 1 else math.nan
    return ArmMean(num_users=number, value=mean, variance=variance)
