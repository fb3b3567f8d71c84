"""How the figures of a test are written: lifts, amounts and ranges in the words of the page."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from features.insight.experiments.measure import Metric
from features.report.page import number, percent
from features.report.sections import HIDDEN
from features.report.words import Money, Words


@dataclass(frozen=True, kw_only=True)
class Writer:
    """Writes the figures of a test.

    Args:
        words: of the page.
        money: of the shop.
        metrics: of the test, by name.
    """

    words: Words
    money: Money
    metrics: dict[str, Metric]

    def name(self, metric: str) -> str:
        """Return what a metric is called: a ready one in the page's language, a shop's own by its name."""
        found = self.words.term("experiments.metric", metric)
        return found if found != metric else metric.replace("_", " ")

    def arm(self, name: str) -> str:
        """Return what an arm is called: ``control``, ``holdout`` and the like in the page's language."""
        return self.words.term("experiments.arm", name)

    def by(self, column: str) -> str:
        """Return what a column of segments is called."""
        return self.words.term("experiments.by", column)

    def lift(self, value: float) -> str:
        """Return a lift as percent with its sign, a true minus."""
        if _unknown(value):
            return HIDDEN
        return f"{100 * value:+.1f}%".replace("-", "−")

    def size(self, value: float) -> str:
        """Return the size of a lift, without its sign."""
        return percent(abs(value))

    def amount(self, metric: str, value: float) -> str:
        """Return a mean or a difference of a metric in its unit."""
        if _unknown(value):
            return HIDDEN
        asked = self.metrics[metric]
        sign = "−" if value < 0 else ""
        if asked.value.count == "revenue" and (asked.per is None or asked.per.count != "revenue"):
            return sign + self.money(abs(value))
        if asked.value.count == "users" and asked.per is None:
            return sign + percent(abs(value), 2)
        return sign + (f"{abs(value):.3f}" if abs(value) < 10 else number(abs(value)))

    def lift_range(self, row: Any) -> str:
        """Return a lift with its range."""
        return self._range(*(self.lift(value) for value in (row.lift, row.lift_low, row.lift_high)))

    def amount_range(self, metric: str, value: float, low: float, high: float) -> str:
        """Return an amount with its range."""
        return self._range(*(self.amount(metric, one) for one in (value, low, high)))

    def chance(self, p: float) -> str:
        """Return a p-value."""
        return HIDDEN if _unknown(p) else "<0.001" if p < 0.001 else f"{p:.3f}"

    def share_range(self, value: float, low: float, high: float) -> str:
        """Return a share with its range."""
        return self._range(*(percent(one) for one in (value, low, high)))

    def _range(self, value: str, low: str, high: str) -> str:
        return HIDDEN if value == HIDDEN else self.words("experiments.range", value=value, low=low, high=high)


def _unknown(value: Any) -> bool:
    return bool(pd.isna(value)) or not math.isfinite(value)
