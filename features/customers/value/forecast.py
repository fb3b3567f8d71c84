"""Purchases to come: the model that this shop's own past favours, corrected by what came after an earlier day.

BG/NBD, MBG/NBD and Pareto/NBD are fitted to the histories as of an earlier day inside the log. The one whose
expectations were nearest to what came since is fitted again as of today, and corrected:

    expected  ->  expected × level × shape(buyer)

*Shape* says who was expected too much or too little, by expectation, frequency and silence, each relative to the mean
buyer's; it is kept where it lowers the error on buyers it was not fitted to, and leaves the total as it is. *Level* is
half of the total's error, in logarithms: one window cannot tell a lasting error from a season that passes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from features.customers.value.bg_nbd import BgNbd
from features.customers.value.correction import Correction, helpful_correction, poisson_deviance
from features.customers.value.histories import Floats, Histories
from features.customers.value.pareto_nbd import ParetoNbd
from features.errors import DataError

Model = BgNbd | ParetoNbd
CANDIDATES: Final[dict[str, Callable[[Histories], Model]]] = {
    "BG/NBD": BgNbd.fit,
    "MBG/NBD": lambda histories: BgNbd.fit(histories, may_leave_at_once=True),
    "Pareto/NBD": ParetoNbd.fit,
}
DEFAULT: Final = "MBG/NBD"  # where the log is too short to choose: the one with no buyer alive for certain
LEVEL_KEPT: Final = 0.5
_LEAST: Final = 1e-9  # purchases

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Window:
    """What came after an earlier day.

    Args:
        histories: as of that day, of those who had bought by then, ``[N]``.
        came: days with a purchase that each had in the window, ``[N]``.
        days: its length.
    """

    histories: Histories
    came: Floats
    days: float


@dataclass(frozen=True, kw_only=True)
class Typical:
    """The mean buyer, whom facts are relative to: purchases expected and made, weeks of silence."""

    expected: float
    frequency: float
    silence: float

    @classmethod
    def of(cls, histories: Histories, expected: Floats) -> Typical:
        """Return the mean of some buyers."""
        silence = histories.age_weeks - histories.recency_weeks
        return cls(
            expected=max(float(expected.mean()), _LEAST),
            frequency=float(histories.frequency.mean()),
            silence=float(silence.mean()),
        )

    def facts(self, histories: Histories, expected: Floats) -> Floats:
        """Return what a correction goes by, ``[N, 4]``."""
        silence = histories.age_weeks - histories.recency_weeks
        return np.column_stack(
            [
                np.log(np.maximum(expected, _LEAST) / self.expected),
                np.log1p(histories.frequency) - np.log1p(self.frequency),
                np.log1p(silence) - np.log1p(self.silence),
                histories.frequency == 0,
            ]
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Shape:
    """Who is expected too much or too little: a factor whose mean over today's expected purchases is 1."""

    correction: Correction
    typical: Typical
    total: float

    def factor(self, histories: Histories, expected: Floats) -> Floats:
        """Return each buyer's factor, ``[N]``; ``expected`` is of the window's length."""
        return self.correction.factor(self.typical.facts(histories, expected)) / self.total


@dataclass(frozen=True, kw_only=True, eq=False)
class PurchaseForecast:
    """What each buyer is expected to buy.

    Args:
        model: the chosen one, fitted to the histories as of today.
        leaving: the MBG/NBD model as of today, for the chance to be alive.
        level: factor on every expectation.
        shape: factor on each buyer's; ``None`` where none helped.
        window_days: that both were learned over; 0 where the log is too short.
        deviances: a buyer's, of each candidate over the window; empty where the log is too short.
    """

    model: Model
    leaving: BgNbd
    level: float
    shape: Shape | None
    window_days: float
    deviances: dict[str, float]

    @classmethod
    def fit(cls, now: Histories, *, window: Window | None = None) -> PurchaseForecast:
        """Choose, fit and correct.

        Args:
            now: histories as of today.
            window: what came after an earlier day; without it, or where that day is too early, ``DEFAULT`` is taken as
                it is.

        Raises:
            DataError: too few bought again by today, or a model has no greatest likelihood.
        """
        earlier = _fit_all(window.histories) if window is not None else {}
        if window is None or not earlier:
            model = CANDIDATES[DEFAULT](now)
            assert isinstance(model, BgNbd)
            return cls(model=model, leaving=model, level=1.0, shape=None, window_days=0.0, deviances={})
        expected = {name: model.expected(window.histories, days=window.days) for name, model in earlier.items()}
        deviances = {name: poisson_deviance(window.came, mean) / len(window.came) for name, mean in expected.items()}
        chosen = min(deviances, key=lambda name: deviances[name])
        model = CANDIDATES[chosen](now)
        forecast = cls(
            model=model,
            leaving=BgNbd.fit(now, may_leave_at_once=True),
            level=(max(window.came.sum(), 0.5) / expected[chosen].sum()) ** LEVEL_KEPT,
            shape=_shape(window, expected[chosen], now, model.expected(now, days=window.days)),
            window_days=window.days,
            deviances=deviances,
        )
        logger.info(
            "purchase forecast: %s of %s by %.0f days of %d buyers, level x %.2f, shape %s",
            *(chosen, ", ".join(earlier), window.days, len(window.came), forecast.level),
            "as it is" if forecast.shape is None else "corrected",
        )
        return forecast

    def expected(self, histories: Histories, *, days: float) -> Floats:
        """Return the mean number of days with a purchase in the coming ``days``, ``[N]``."""
        [expected] = self.expected_by(histories, days=(days,))
        return expected

    def expected_by(self, histories: Histories, *, days: Sequence[float]) -> Iterator[Floats]:
        """Yield what ``expected`` returns of each of several ``days``; what they share is worked out once."""
        alive = self.model.alive(histories)
        factor = np.full(len(histories), self.level)
        if self.shape is not None:
            over_window = self.model.expected(histories, days=self.window_days, alive=alive)
            factor = factor * self.shape.factor(histories, over_window)
        for ahead in days:
            yield self.model.expected(histories, days=ahead, alive=alive) * factor

    def alive(self, histories: Histories) -> Floats:
        """Return the chance not to have left for good, ``[N]``; by MBG/NBD, in which one purchase keeps nobody."""
        return self.leaving.alive(histories)


def _fit_all(histories: Histories) -> dict[str, Model]:
    found = {}
    for name, fit in CANDIDATES.items():
        try:
            found[name] = fit(histories)
        except DataError as reason:
            logger.info("purchase forecast: %s not tried as of the earlier day: %s", name, reason)
    return found


def _shape(window: Window, expected: Floats, now: Histories, expected_now: Floats) -> Shape | None:
    then = Typical.of(window.histories, expected)
    found = helpful_correction(expected, then.facts(window.histories, expected), window.came)
    if found is None:
        return None
    typical = Typical.of(now, expected_now)
    factor = found.factor(typical.facts(now, expected_now))
    total = float(factor @ expected_now / max(expected_now.sum(), _LEAST))
    return Shape(correction=found, typical=typical, total=total)
