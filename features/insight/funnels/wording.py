"""How figures of funnels are written."""

from __future__ import annotations

from typing import Any

import pandas as pd

from features.insight.funnels.steps import Step
from features.insight.intervals import difference_of_shares
from features.report.page import percent, points
from features.report.sections import HIDDEN
from features.report.words import Words

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def step_name(step: Step, words: Words) -> str:
    """Return what a step is called: an event type in the page's language, a shop's own step by its name."""
    is_type = step.events == (step.name,) and not step.where
    return words.term("event", step.name) if is_type else step.name.replace("_", " ")


def window_text(days: float, words: Words) -> str:
    """Return a window of days."""
    return words("funnels.window", count=int(days)) if days == int(days) else words("funnels.days", number=f"{days:g}")


def duration(seconds: Any, words: Words) -> str:
    """Return a time span in the unit that suits it."""
    if pd.isna(seconds):
        return HIDDEN
    for unit, size in (("seconds", 1), ("minutes", _MINUTE), ("hours", _HOUR)):
        if seconds < 1.5 * {"seconds": _MINUTE, "minutes": _HOUR, "hours": _DAY}[unit]:
            return words(
                f"funnels.{unit}", number=f"{seconds / size:.0f}" if unit != "hours" else f"{seconds / size:.1f}"
            )
    return words("funnels.days", number=f"{seconds / _DAY:.1f}")


def interval_text(rate: Any, low: Any, high: Any, words: Words) -> str:
    """Return a share with its interval."""
    if pd.isna(rate):
        return HIDDEN
    return words("funnels.interval", rate=percent(float(rate)), low=percent(float(low)), high=percent(float(high)))


def change_text(now: Any, before: Any, rate: str, words: Words) -> list[str]:
    """Return the earlier rate of a step, and the difference in points with its interval."""
    if pd.isna(getattr(now, rate)) or pd.isna(before[rate]):
        return [HIDDEN, HIDDEN]
    low, high = difference_of_shares(
        now.step_rate * now.step_worth, now.step_worth, before["step_rate"] * before["step_worth"], before["step_worth"]
    )
    text = words(
        "funnels.change",
        points=points(getattr(now, rate) - before[rate]),
        low=points(float(low)),
        high=points(float(high)),
    )
    return [percent(float(before[rate])), text]
