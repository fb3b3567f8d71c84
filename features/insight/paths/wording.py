"""How figures of paths are written."""

from __future__ import annotations

from typing import Any

import pandas as pd

from features import columns as c
from features.insight.paths.step_matrix import ENDED
from features.insight.paths.steps import END, OTHER, START
from features.insight.paths.value import ALL_VISITS
from features.report.page import percent
from features.report.sections import HIDDEN
from features.report.words import Words

_OURS = {START: "begins", END: "ends", OTHER: "other", ENDED: "ended", ALL_VISITS: "all_visits"}


def step_name(name: str, words: Words) -> str:
    """Return what a step is called: an event type in the page's language, a shop's own by its name."""
    if name in _OURS:
        return words(f"paths.{_OURS[name]}")
    return words.term("event", name) if name in c.EVENT_TYPES else name.replace("_", " ")


def interval(share: Any, low: Any, high: Any, words: Words) -> str:
    """Return a share with its interval; a dot where it is hidden."""
    if pd.isna(share):
        return HIDDEN
    return words("paths.between", share=percent(float(share)), low=percent(float(low)), high=percent(float(high)))
