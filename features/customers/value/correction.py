"""What models of repeat purchase miss, learned from purchases that came after them.

    expected  ->  expected × exp(bias + z·weights)      z: standardised facts of the buyer

The factor maximises the Poisson likelihood of what came, drawn towards 1 by a normal prior. N rows, K facts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from features.customers.value.histories import Floats

_PRECISION: Final = 10.0  # of the weights of standardised facts: a weight is known to 1 in 3 before it is seen
_FLAT: Final = 1e-9  # the level has no prior
_LEAST_SCALE: Final = 1e-6
_MOST_STEPS: Final = 50
_TOLERANCE: Final = 1e-9
_LEAST: Final = 1e-9  # purchases: an expectation of nothing has no logarithm
FOLDS: Final = 5


def poisson_deviance(came: Floats, expected: Floats) -> float:
    """Return twice the log-likelihood that a perfect forecast of the counts would gain; lower is better."""
    mean = np.maximum(expected, _LEAST)
    surprise = np.where(came > 0, came * np.log(np.maximum(came, _LEAST) / mean), 0.0)
    return float(2 * (surprise - (came - mean)).sum())


@dataclass(frozen=True, kw_only=True, eq=False)
class Correction:
    """A fitted factor.

    Args:
        center, scale: ``[K]``; a fact enters as ``(fact - center) / scale``, kept within ...
        low, high: ``[K]``; ... what was seen when it was fitted.
        weights: ``[1+K]``, the bias first.
    """

    center: Floats
    scale: Floats
    low: Floats
    high: Floats
    weights: Floats

    @classmethod
    def fit(cls, expected: Floats, facts: Floats, came: Floats) -> Correction:
        """Return the most likely factor.

        Args:
            expected: what a model expected, ``[N]``.
            facts: ``[N, K]``.
            came: purchases that came, ``[N]``.
        """
        center, scale = facts.mean(axis=0), np.maximum(facts.std(axis=0), _LEAST_SCALE)
        z = (facts - center) / scale
        design = np.column_stack([np.ones(len(z)), z])
        weights = _newton(np.log(np.maximum(expected, _LEAST)), design, came)
        return cls(center=center, scale=scale, low=z.min(axis=0), high=z.max(axis=0), weights=weights)

    def factor(self, facts: Floats) -> Floats:
        """Return what to multiply an expectation by, ``[N]``."""
        z = np.clip((facts - self.center) / self.scale, self.low, self.high)
        # Not as z @ weights: equal buyers get equal factors, whichever rows are beside them.
        return np.exp(self.weights[0] + (z * self.weights[1:]).sum(axis=1))


def helpful_correction(expected: Floats, facts: Floats, came: Floats) -> Correction | None:
    """Return a correction that lowers the deviance on buyers it was not fitted to, or ``None``."""
    folds = np.arange(len(came)) % FOLDS
    corrected = expected.copy()
    for fold in range(FOLDS):
        others, these = folds != fold, folds == fold
        if came[others].sum() == 0:
            return None
        found = Correction.fit(expected[others], facts[others], came[others])
        corrected[these] *= found.factor(facts[these])
    if poisson_deviance(came, corrected) >= poisson_deviance(came, expected):
        return None
    return Correction.fit(expected, facts, came)


def _newton(offset: Floats, design: Floats, came: Floats) -> Floats:
    """Return the weights of the greatest posterior; it is concave, so that a step that raises it is safe."""
    precision = np.full(design.shape[1], _PRECISION)
    precision[0] = _FLAT

    def loss(weights: Floats) -> float:
        logs = offset + design @ weights
        return float(np.exp(np.minimum(logs, 700)).sum() - came @ logs + precision @ weights**2 / 2)

    weights = np.zeros(design.shape[1])
    weights[0] = np.log(max(came.sum(), 0.5) / np.exp(offset).sum())
    height = loss(weights)
    for _ in range(_MOST_STEPS):
        mean = np.exp(offset + design @ weights)
        slope = design.T @ (mean - came) + precision * weights
        step = np.linalg.solve(design.T @ (design * mean[:, None]) + np.diag(precision), slope)
        size = 1.0
        while (lower := loss(weights - size * step)) > height and size > _TOLERANCE:
            size /= 2
        weights, gain, height = weights - size * step, height - lower, lower
        if gain <= _TOLERANCE * abs(height):
            break
    return weights
