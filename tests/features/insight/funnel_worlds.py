"""Small logs spelled as strings, and funnels whose steps are letters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa

from features import columns as c
from features.contract.tables import EVENTS
from features.insight.funnels.definition import FunnelDefinition
from features.insight.funnels.steps import Step
from tests.features.insight.funnel_reference import LETTERS, Best, Event
from tests.features.tiny_shop import arrow_table, event, utc

START_US = 1_714_557_600_000_000  # 2024-05-01 10:00 UTC
HOUR_US = 3_600_000_000


def spelled(text: str) -> list[Event]:
    """``"A B C3"``: one event an hour from 0 on, or at the hour that is given."""
    events: list[Event] = []
    hour = 0.0
    for word in text.split():
        hour = float(word[1:]) if len(word) > 1 else (hour + 1 if events else 0.0)
        events.append(Event(LETTERS[word[0]], round(START_US + hour * HOUR_US)))
    return events


def step(letters: str, **more: Any) -> Step:
    """A step of the events that its letters stand for."""
    return Step(name=letters, events=tuple(LETTERS[letter] for letter in letters), **more)


def funnel_of(*steps: str | Step, **more: Any) -> FunnelDefinition:
    """A funnel of letters or steps."""
    return FunnelDefinition(steps=tuple(step(one) if isinstance(one, str) else one for one in steps), **more)


def log_of(units: Mapping[str, Sequence[Event]], **more: Any) -> pa.Table:
    """The events as rows of the log, in UTC days; ids of events in their order, rows out of order."""
    rows = [
        event(
            unit, one.kind, utc("1970-01-01") + pd.Timedelta(microseconds=one.at_us), "i1", event_id=f"{n:04d}", **more
        )
        for unit, events in units.items()
        for n, one in enumerate(events)
    ]
    table = arrow_table(EVENTS, rows[::-1])
    days = pa.array([at.date() for at in table[c.TS].to_pylist()], pa.date32())
    return table.append_column(c.LOCAL_DAY, days)


def bests(found: pd.DataFrame, num_steps: int) -> dict[str, Best]:
    """What ``funnel`` found, a unit each."""
    times = found[[f"step_{n}_us" for n in range(1, num_steps + 1)]].astype("Int64").astype(object)
    return {
        user: Best(times=tuple(None if pd.isna(at) else int(at) for at in row), excluded=bool(excluded))
        for user, row, excluded in zip(found[c.USER_ID], times.to_numpy(), found["excluded"], strict=True)
    }


def hours(best: Best) -> str:
    """When its steps were reached, in hours: ``"0 2 -"``."""
    return " ".join("-" if at is None else f"{(at - START_US) / HOUR_US:g}" for at in best.times)
