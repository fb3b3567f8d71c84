"""The most likely parameters of a model whose parameters are positive, from several starts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from scipy import optimize

from features.customers.value.histories import Floats
from features.errors import DataError

# A parameter outside adds nothing that its bound does not say: 1e-4 of a purchase, 10,000 weeks.
LOWEST: Final = 1e-4
HIGHEST: Final = 1e4
_MOST_STEPS: Final = 500
_TOLERANCE: Final = 1e-12  # relative, of the log-likelihood
_SLOPE: Final = 1e-9

logger = logging.getLogger(__name__)


def most_likely(
    gains: Callable[[Floats], tuple[float, Floats]], starts: Sequence[Sequence[float]], *, names: Sequence[str]
) -> tuple[Floats, float]:
    """Return the parameters of the greatest log-likelihood, and that.

    It is sought over logarithms, within ``LOWEST`` and ``HIGHEST``, by L-BFGS-B from each start.

    Args:
        gains: log-likelihood and its derivatives by the parameters themselves.
        starts: parameters to begin from; the best end is taken.
        names: of the parameters, for messages.

    Raises:
        DataError: from no start does the search come to an end.
    """
    scale = abs(gains(np.asarray(starts[0], np.float64))[0]) or 1.0

    def loss(logs: Floats) -> tuple[float, Floats]:
        values = np.exp(logs)
        gain, slope = gains(values)
        return -gain / scale, -slope * values / scale

    limits = [(float(np.log(LOWEST)), float(np.log(HIGHEST)))] * len(names)
    ends = [
        optimize.minimize(
            loss,
            np.log(start),
            jac=True,
            method="L-BFGS-B",
            bounds=limits,
            options={"maxiter": _MOST_STEPS, "ftol": _TOLERANCE, "gtol": _SLOPE},
        )
        for start in starts
    ]
    sound = [end for end in ends if np.isfinite(end.fun) and np.isfinite(end.x).all()]
    if not sound:
        raise DataError(
            f"expected a greatest likelihood of {', '.join(names)}, found none from {len(starts)} starts; "
            "look for buyers whose dates cannot be right."
        )
    best = min(sound, key=lambda end: float(end.fun))
    found = np.exp(best.x)
    for name, value in zip(names, found, strict=True):
        if value < LOWEST * 1.01 or value > HIGHEST * 0.99:
            logger.warning(
                "%s ended at its bound, %.4g: what it stands for hardly shows in these purchases", name, value
            )
    return found, -float(best.fun) * scale
