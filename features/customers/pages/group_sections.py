"""The sections about groups of customers: how many, who became what, what they like, when they are here."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

import numpy as np
import pandas as pd

from features.customers.moves import NONE
from features.customers.pages import segments
from features.privacy.small_groups import suppress_small_groups
from features.report.charts import bars, heat
from features.report.sections import (
    HIDDEN,
    Drawn,
    Listed,
    Section,
    amount,
    capital,
    decimal,
    greatest,
    hidden_note,
    numbers,
    records,
    share_text,
    whole,
)  # fmt: skip
from features.report.words import Money, Words

_MOST_CATEGORIES: Final = 6  # in a figure; the table has all
_MANY_BUYERS: Final = 3  # a lift is spoken of where so many times the fewest customers stand behind it
_OFTEN: Final = 4  # scores from which on customers buy often, or came lately
_LONG_AGO: Final = 2  # and up to which they have not come for long


def sizes_section(customers: pd.DataFrame, columns: list[str], *, minimum: int, money: Money, words: Words) -> Section:
    """Return the sizes of all groups, a figure and a table for each way to cut."""
    drawn, listed, notes = [], [], []
    for column in columns:
        found = segments.sizes(customers, column, minimum=minimum)
        kind, frame = words(f"kind.{column}"), found.frame
        names = [capital(words.term(column, value)) for value in frame["segment"]]
        texts = [
            HIDDEN if pd.isna(row.customers) else f"{whole(row.customers)} · {share_text(row.share, 0)}"
            for row in records(frame)
        ]
        svg = bars(names, numbers(frame["customers"]), texts, title=words("sizes.figure", kind=kind),
                   description=words.listing([f"{a} {b}" for a, b in zip(names, texts, strict=True)]))  # fmt: skip
        drawn.append(Drawn(svg=svg, caption=words("sizes.figure", kind=kind)))
        listed.append(_sizes_table(names, frame, kind, money, words))
        notes += hidden_note(words, found, minimum)
    return Section(name="sizes", title=words("sizes.title"), text=words("sizes.text"), drawn=drawn, listed=listed,
                   finding=_largest(customers, columns[0], minimum, words), notes=list(dict.fromkeys(notes)))  # fmt: skip


def _sizes_table(names: list[str], frame: pd.DataFrame, kind: str, money: Money, words: Words) -> Listed:
    rows = [
        [
            name,
            whole(row.customers),
            share_text(row.share),
            decimal(row.orders, 1),
            amount(row.money, money),
            share_text(row.money_share),
        ]
        for name, row in zip(names, records(frame), strict=True)
    ]
    heads = [words(f"sizes.{name}") for name in ("segment", "customers", "share", "orders", "money", "money_share")]
    return Listed(caption=words("sizes.table", kind=kind), columns=heads, rows=rows)


def _largest(customers: pd.DataFrame, column: str, minimum: int, words: Words) -> str:
    shown = segments.sizes(customers, column, minimum=minimum).frame.dropna(subset=["customers"])
    if shown.empty:
        return ""
    top = greatest(shown, "customers")
    # Only the lifecycle has a stage for those who never bought.
    key = "sizes.finding" if column == "lifecycle" else "sizes.finding_buyers"
    return words(key, segment=words.term(column, top.segment), share=capital(words.fraction(top.share)))


def moves_section(
    moves: pd.DataFrame, column: str, *, before: dt.date, after: dt.date, minimum: int, words: Words
) -> Section:
    """Return who became what between two days, as a map from rows to columns."""
    found = segments.shown_moves(moves, minimum=minimum)
    seen = set(moves["now"]) | set(moves["was"])
    to = segments.in_order(column, seen - {NONE})
    origins = [*([NONE] if NONE in set(moves["was"]) else []), *to]
    pairs = found.frame.set_index(["was", "now"])["customers"]
    hidden = set(pairs.index[found.hidden])
    cells = numbers(pairs.unstack("now").reindex(index=origins, columns=to))
    texts = [
        [HIDDEN if (a, b) in hidden else "" if np.isnan(cells[i, j]) else whole(cells[i, j]) for j, b in enumerate(to)]
        for i, a in enumerate(origins)
    ]
    shares = cells / np.nansum(cells, axis=1, keepdims=True).clip(min=1)
    unseen = words("moves.unseen" if column == "lifecycle" else "moves.no_purchase")
    rows = [unseen if name == NONE else capital(words.term(column, name)) for name in origins]
    names = [words.term(column, name) for name in to]
    svg = heat(shares, rows=rows, columns=names, texts=texts, title=words("moves.title"), description=words("moves.figure"),
               column_title=words("moves.to", day=words.day(after)), row_title=words("moves.from", day=words.day(before)),
               warm=False)  # fmt: skip
    table = Listed(caption=words("moves.table"), columns=[words("sizes.segment"), *names],
                   rows=[[row, *line] for row, line in zip(rows, texts, strict=True)])  # fmt: skip
    return Section(
        name="moves",
        title=words("moves.title"),
        text=words("moves.text", before=words.day(before), after=words.day(after)),
        finding=largest_move(found.frame, column, days=(after - before).days, minimum=minimum, words=words),
        drawn=[Drawn(svg=svg, caption=words("moves.figure"))],
        listed=[table],
        notes=hidden_note(words, found, minimum),
    )


def largest_move(moves: pd.DataFrame, column: str, *, days: int, minimum: int, words: Words) -> str:
    """Return the sentence about the largest move from one group to another; blank where all are small."""
    rows = moves[(moves["was"] != moves["now"]) & (moves["was"] != NONE) & (moves["customers"].fillna(0) >= minimum)]
    if rows.empty:
        return ""
    top = greatest(rows, "customers")
    before, after = words.term(column, top.was), words.term(column, top.now)
    return words("short.moved", customers=int(top.customers), before=before, after=after, days=days)


def rfm_section(customers: pd.DataFrame, *, minimum: int, money: Money, words: Words) -> Section:
    """Return the map of buyers by recency and frequency."""
    found = segments.rfm_map(customers, minimum=minimum)
    frame = found.frame
    square = (len(segments.SCORES), len(segments.SCORES))  # rows come by recency, then by frequency
    counts = numbers(frame["customers"]).reshape(square)[::-1]
    texts = np.array([_rfm_text(row, money) for row in records(frame)], object).reshape(square)[::-1]
    scores = list(map(str, segments.SCORES))
    svg = heat(counts / max(np.nanmax(counts), 1), rows=scores[::-1], columns=scores, texts=texts.tolist(),
               title=words("rfm.title"), description=words("rfm.figure"), row_title=words("rfm.recency"),
               column_title=words("rfm.frequency"), cell_inches=0.62)  # fmt: skip
    heads = [words("rfm.recency"), words("rfm.frequency"), words("sizes.customers"), words("rfm.money")]
    rows = [
        [str(row.recency_score), str(row.frequency_score), whole(row.customers), amount(row.money, money)]
        for row in records(frame)
    ]
    return Section(name="rfm", title=words("rfm.title"), text=words("rfm.text"), finding=_often(frame, words),
                   drawn=[Drawn(svg=svg, caption=words("rfm.figure"))],
                   listed=[Listed(caption=words("rfm.table"), columns=heads, rows=rows)],
                   notes=hidden_note(words, found, minimum))  # fmt: skip


def _often(frame: pd.DataFrame, words: Words) -> str:
    """Return how many frequent buyers still come, and how many do not; of shown cells only."""
    often, late = frame["frequency_score"] >= _OFTEN, frame["recency_score"] >= _OFTEN
    gone = frame["recency_score"] <= _LONG_AGO
    here, lost = (int(frame.loc[often & cells, "customers"].fillna(0).sum()) for cells in (late, gone))
    hidden = bool(frame.loc[often & (late | gone), "customers"].isna().any())
    return words("rfm.finding_hidden" if hidden else "rfm.finding", customers=here, lost=lost) if here and lost else ""


def _rfm_text(row: Any, money: Money) -> str:
    if pd.isna(row.customers):
        return HIDDEN
    return f"{whole(row.customers)}\n{money.short(float(row.money))}" if row.customers else ""


def likes_section(counts: pd.DataFrame, column: str, *, minimum: int, words: Words) -> Section:
    """Return what each group buys beside what all buy."""
    found = segments.favourite_categories(counts, minimum=minimum)
    frame = found.frame
    names = segments.in_order(column, list(frame["segment"].unique()))
    popular = frame.groupby("category")["purchases"].sum().sort_values(ascending=False, kind="stable").index
    drawn = popular[:_MOST_CATEGORIES]
    share, lift = (
        frame.pivot(index="category", columns="segment", values=v).reindex(columns=names) for v in ("share", "lift")
    )
    deep = (numbers(lift.loc[drawn]) / 2).clip(0, 1)
    texts = [[share_text(one, 0) for one in line] for line in numbers(share.loc[drawn])]
    svg = heat(deep, rows=list(drawn), columns=[words.term(column, name) for name in names], texts=texts,
               title=words("likes.title"), description=words("likes.figure"), cell_inches=0.42)  # fmt: skip
    rows = [
        [capital(words.term(column, row.segment)), row.category, whole(row.customers), share_text(row.share),
         decimal(row.lift, 2)]
        for name in names for row in records(frame[frame["segment"] == name].sort_values("lift", ascending=False))
    ]  # fmt: skip
    heads = [words("sizes.segment"), *(words(f"likes.{name}") for name in ("category", "buyers", "share", "lift"))]
    return Section(name="likes", title=words("likes.title"), text=words("likes.text"),
                   finding=_outstanding(frame, column, minimum, words),
                   drawn=[Drawn(svg=svg, caption=words("likes.figure"))],
                   listed=[Listed(caption=words("likes.table"), columns=heads, rows=rows)],
                   notes=hidden_note(words, found, minimum))  # fmt: skip


def _outstanding(frame: pd.DataFrame, column: str, minimum: int, words: Words) -> str:
    rows = frame[frame["customers"].fillna(0) >= _MANY_BUYERS * minimum].dropna(subset=["lift"])
    if rows.empty:
        return ""
    top = greatest(rows, "lift")
    segment = words.term(column, top.segment)
    return words("likes.finding", category=capital(top.category), segment=segment, lift=decimal(top.lift, 1))


def hours_section(hours: pd.DataFrame, *, minimum: int, words: Words) -> Section:
    """Return the heat map of the week."""
    found = suppress_small_groups(hours, counts="customers", minimum=minimum, measures=("presences",))
    wide = found.frame.pivot(index="weekday", columns="local_hour", values="presences")
    counts = numbers(wide.reindex(index=range(1, 8), columns=range(24)))
    days = [words.weekday(number) for number in range(1, 8)]
    svg = heat(counts / max(np.nanmax(counts), 1), rows=days, columns=[str(hour) for hour in range(24)], every=3,
               title=words("hours.title"), description=words("hours.figure"), column_title=words("hours.hour"),
               cell_inches=0.3)  # fmt: skip
    weekday, hour = busiest(hours)
    rows = [[words.hour(h), *map(whole, counts[:, h])] for h in range(24)]
    return Section(name="hours", title=words("hours.title"), text=words("hours.text"),
                   finding=words("hours.finding", weekday=words.weekday(weekday), hour=words.hour(hour)),
                   drawn=[Drawn(svg=svg, caption=words("hours.figure"))],
                   listed=[Listed(caption=words("hours.table"), columns=[words("hours.hour"), *days], rows=rows)],
                   notes=hidden_note(words, found, minimum))  # fmt: skip


def busiest(hours: pd.DataFrame) -> tuple[int, int]:
    """Return weekday and hour with the most presences; of equals the earliest."""
    top = hours.sort_values(["presences", "weekday", "local_hour"], ascending=[False, True, True]).iloc[0]
    return int(top["weekday"]), int(top["local_hour"])
