"""How likely an item is to be rewarded, learned from the log itself: the model behind the doubly robust estimate.

A logistic regression on the ranker's score and the item's popularity, cross-fitted: the reward of a user is
predicted by a model that has seen none of that user's rewards, so that it cannot flatter itself.

Source: Chernozhukov et al. 2018, "Double/debiased machine learning", The Econometrics Journal 21 (cross-fitting).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.integer]

NUM_FOLDS: Final = 5
_RIDGE: Final = 1.0  # of standardised features, in units of one exposure
_RIDGE_ON_MEAN: Final = 1e-3  # keeps log-odds finite where nothing, or everything, was rewarded


@dataclass(frozen=True, kw_only=True, eq=False)
class RewardModel:
    """One logistic regression a fold: log-odds = intercept + slopes . (features - centre) / scale.

    Args:
        coefficients: float64 ``[folds, 1 + F]``, the intercept first.
        centre, scale: of the features in the log, ``[F]``.
    """

    coefficients: Floats
    centre: Floats
    scale: Floats

    @classmethod
    def fit(cls, features: Floats, reward: Floats, fold: Ints, *, num_folds: int = NUM_FOLDS) -> RewardModel:
        """Learn one model a fold, from the exposures of the other folds.

        Args:
            features: of each exposure's shown item, ``[E, F]``.
            reward: from 0 to 1, ``[E]``.
            fold: of each exposure's user, ``[E]``.
            num_folds: how many.
        """
        centre, spread = features.mean(axis=0), features.std(axis=0)
        scale = np.where(spread > 0, spread, 1.0)
        inputs = np.column_stack([np.ones(len(features)), (features - centre) / scale])
        models = [_logistic(inputs[fold != held], reward[fold != held]) for held in range(num_folds)]
        return cls(coefficients=np.stack(models), centre=centre, scale=scale)

    def predict(self, features: Floats, fold: Ints) -> Floats:
        """Return mean rewards ``[...]`` for features ``[..., F]``; ``fold`` ``[...]`` says which model answers."""
        weights = self.coefficients[fold]  # [..., 1 + F]
        standardised = (features - self.centre) / self.scale
        return np.asarray(expit(weights[..., 0] + (weights[..., 1:] * standardised).sum(axis=-1)))


def folds_of(user: Ints, *, seed: int, num_folds: int = NUM_FOLDS) -> npt.NDArray[np.int64]:
    """Return a fold for each exposure, the same for all of a user's, ``[E]``."""
    distinct, row = np.unique(user, return_inverse=True)
    shuffled = np.random.default_rng(seed).permutation(len(distinct)) % num_folds
    return shuffled[row].astype(np.int64)


def _logistic(inputs: Floats, reward: Floats) -> Floats:
    """Return the coefficients ``[1 + F]`` that fit best, drawn towards 0 a little."""
    if len(inputs) == 0:
        return np.zeros(inputs.shape[1])
    ridge = np.full(inputs.shape[1], _RIDGE)
    ridge[0] = _RIDGE_ON_MEAN

    def loss(weights: Floats) -> tuple[float, Floats]:
        odds = inputs @ weights
        value = np.logaddexp(0, odds).sum() - reward @ odds + 0.5 * (ridge * weights**2).sum()
        return float(value), inputs.T @ (expit(odds) - reward) + ridge * weights

    start = np.zeros(inputs.shape[1])
    return np.asarray(minimize(loss, start, jac=True, method="L-BFGS-B").x, np.float64)
