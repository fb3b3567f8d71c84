"""Visits spelled as words: a letter an event."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pandas as pd

from features.contract.tables import EVENTS
from tests.features.tiny_shop import arrow_table, event, utc

START = utc("2024-05-01 10:00")
LETTERS = {"A": "view", "B": "search", "C": "cart", "D": "favorite", "P": "purchase", "L": "login"}
NAMES = {name: letter for letter, name in LETTERS.items()}


def frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    rows = [{"event_id": f"e{place:04}"} | row for place, row in enumerate(rows)]
    return arrow_table(EVENTS, rows).to_pandas()


def visit(user: str, letters: str, *, at: dt.datetime = START, **more: Any) -> list[dict[str, Any]]:
    """``visit("u1", "ABP")``: a view, a search and a purchase, a minute apart."""
    return [
        event(user, LETTERS[letter], at + dt.timedelta(minutes=place), "i1", price=500, **more)
        for place, letter in enumerate(letters)
    ]


def word(steps: pd.DataFrame, user: str = "u1") -> str:
    ordered = steps[steps["user_id"] == user].sort_values(["visit_id", "step"])
    return "".join(NAMES[name] for name in ordered["node"])
