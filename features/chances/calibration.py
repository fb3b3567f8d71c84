"""From log odds that order well to chances that hold: Platt's line, or isotonic steps, fitted to what came later.

    log odds  ->  1 / (1 + exp(-(slope × log odds + bias)))       Platt
    log odds  ->  the line through the means of isotonic blocks    isotonic

Sources: Platt 1999; Zadrozny and Elkan 2002; pool adjacent violators after Barlow et al. 1972.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from features.chances.logistic import OUTCOMES_A_COEFFICIENT, QuadraticLogit, chance_of
from features.chances.scores import log_loss

Floats = npt.NDArray[np.floating]
Bools = npt.NDArray[np.bool_]
Method = Literal["none", "platt", "isotonic"]
METHODS: Final[tuple[Method, ...]] = ("none", "platt", "isotonic")
_PLATT_WEIGHTS: Final = 2  # slope and bias

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """A map from log odds to chances that never falls.

    Args:
        method: none leaves the log odds as they are.
        slope, bias: of Platt's line.
        log_odds, chance: corners of the isotonic line, rising, ``[C]``; flat outside.
    """

    method: Method
    slope: float = 1.0
    bias: float = 0.0
    log_odds: tuple[float, ...] = ()
    chance: tuple[float, ...] = ()

    @classmethod
    def fit(cls, method: Method, log_odds: Floats, came: Bools) -> Calibration:
        """Return the map under which what came is likeliest; none where outcomes are too few for a line.

        Args:
            method: which map.
            log_odds: of a model that was not fitted to these rows, ``[N]``.
            came: ``[N]``.
        """
        rarer = min(came.sum(), (~came).sum())
        if method == "none" or rarer < OUTCOMES_A_COEFFICIENT * _PLATT_WEIGHTS:
            return cls(method="none")
        return _platt(log_odds, came) if method == "platt" else _isotonic(log_odds, came)

    def of(self, log_odds: Floats) -> Floats:
        """Return chances, ``[N]``."""
        if self.method == "isotonic":
            return np.interp(log_odds, self.log_odds, self.chance)
        return np.asarray(chance_of(self.slope * log_odds + self.bias), np.float64)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Calibration:
        """Read what ``to_dict`` wrote."""
        corners = {name: tuple(map(float, values[name])) for name in ("log_odds", "chance")}
        return cls(method=values["method"], slope=float(values["slope"]), bias=float(values["bias"]), **corners)


def better_method(fitted: Mapping[Method, Calibration], log_odds: Floats, came: Bools) -> Method:
    """Return the method with the least log loss on rows that none of them has seen; the earlier of equals."""
    losses = {method: log_loss(found.of(log_odds), came) for method, found in fitted.items()}
    logger.info("calibration: log loss %s", ", ".join(f"{method} {loss:.5f}" for method, loss in losses.items()))
    return min(losses, key=lambda method: losses[method])


def _platt(log_odds: Floats, came: Bools) -> Calibration:
    fitted = QuadraticLogit.fit(("log_odds",), log_odds[:, None], came, crossed=())
    assert fitted is not None, "outcomes were counted"
    slope = float(fitted.linear[0] / fitted.scale[0])
    if slope <= 0:  # an order that what came turns round is none to build on
        return Calibration(method="none")
    return Calibration(method="platt", slope=slope, bias=fitted.bias - slope * float(fitted.center[0]))


def _isotonic(log_odds: Floats, came: Bools) -> Calibration:
    """Corners are blocks' means; one imagined outcome at the overall rate keeps the ends from 0 and 1."""
    distinct, place = np.unique(log_odds, return_inverse=True)
    counts, came_counts = np.bincount(place), np.bincount(place, weights=came)
    blocks: list[list[float]] = []  # rows, rows that came, rows × log odds
    for x, n, y in zip(distinct.tolist(), counts.tolist(), came_counts.tolist(), strict=True):
        blocks.append([n, y, n * x])
        while len(blocks) > 1 and blocks[-2][1] * blocks[-1][0] >= blocks[-1][1] * blocks[-2][0]:
            blocks[-2] = [a + b for a, b in zip(*blocks[-2:], strict=True)]
            blocks.pop()
    total, num_came, x_sum = (np.array(column) for column in zip(*blocks, strict=True))
    rate = num_came.sum() / total.sum()
    ends = (num_came == 0) | (num_came == total)
    chance = np.where(ends, (num_came + rate) / (total + 1), num_came / total)
    rising = np.maximum.accumulate(chance)
    return Calibration(
        method="isotonic", log_odds=tuple((x_sum / total).tolist()), chance=tuple(rising.tolist())
    )  # fmt: skip
