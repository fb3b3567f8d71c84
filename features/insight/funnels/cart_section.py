"""The section about carts that were left."""

from __future__ import annotations

from typing import Any, Final

import pandas as pd

from features import columns as c
from features.insight.funnels.abandonment import LOCAL_WEEK, NONE, Of, abandonment
from features.insight.funnels.wording import interval_text
from features.insight.inputs import Inputs
from features.insight.intervals import difference_of_shares
from features.privacy.small_groups import suppress_small_groups
from features.report.charts import lines
from features.report.page import percent, points
from features.report.sections import (
    Card,
    Definition,
    Drawn,
    Listed,
    Section,
    amount,
    capital,
    greatest,
    hidden_note,
    numbers,
    records,
    whole,
)
from features.report.words import Words

_COUNTS: Final = ("num_carts", "num_abandoned", "num_left", "value_left", "num_open")
_RATES: Final = ("rate", "rate_low", "rate_high")
_MEASURES: Final = (*_COUNTS, *_RATES, "worth")
_DEVICE: Final = "device"
_WEEKLY_DAYS: Final = 60  # longer periods are drawn by week


def cart_section(inputs: Inputs, words: Words) -> Section | None:
    """Return how many carts and checkouts were left, when and where, and what was in them; nothing of too few customers'."""
    total = _total(inputs, "cart")
    if _is_small(total, inputs):
        return None
    days = suppress_small_groups(
        _by_period(inputs), counts="num_customers", minimum=inputs.minimum, measures=_MEASURES
    )  # their total is shown
    places = _by_place(inputs)
    shown = suppress_small_groups(
        places, counts="num_customers", minimum=inputs.minimum, measures=_MEASURES, within=["by"]
    )
    share, money = words.fraction(float(total["rate"])), inputs.money
    return Section(
        name="carts",
        title=words("funnels.carts_title", share=capital(share), value=amount(total["value_left"], money)),
        text=words("funnels.carts_text"),
        finding=_finding(total, shown.frame, words),
        cards=_cards(total, inputs, words),
        drawn=_lines(days.frame, inputs, words),
        listed=[_listed(shown.frame, inputs, words)] if len(places) else [],
        notes=list(dict.fromkeys(hidden_note(words, days, inputs.minimum) + hidden_note(words, shown, inputs.minimum))),
        defined=[Definition(name=words("funnels.cart_left"), text=words("funnels.defined_cart"))],
        tables={"periods": days.frame, "places": shown.frame},
    )  # fmt: skip


def _finding(total: pd.Series, places: pd.DataFrame, words: Words) -> str:
    finding = words(
        "funnels.carts_finding", rate=percent(float(total["rate"])), low=percent(float(total["rate_low"])),
        high=percent(float(total["rate_high"])), carts=int(total["num_carts"]), left=int(total["num_left"]),
    )  # fmt: skip
    devices = places[(places["by"] == _DEVICE) & places["num_abandoned"].notna() & (places["name"] != NONE)]
    if not len(devices) or not int(total["num_abandoned"]):
        return finding
    most = greatest(devices, "num_abandoned")
    share = words.fraction(int(most.num_abandoned) / int(total["num_abandoned"]))
    return finding + words("funnels.carts_device", share=capital(share), device=str(most.name).replace("_", " "))


def _total(inputs: Inputs, of: Of) -> pd.Series:
    return abandonment(inputs.rows, last_at_us=inputs.known_until_us(inputs.period), of=of).iloc[0]


def _is_small(total: pd.Series, inputs: Inputs) -> bool:
    return int(total["num_customers"]) < max(inputs.minimum, 1)


def _by_period(inputs: Inputs) -> pd.DataFrame:
    by = LOCAL_WEEK if inputs.period.num_days > _WEEKLY_DAYS else c.LOCAL_DAY
    return abandonment(inputs.rows, last_at_us=inputs.known_until_us(inputs.period), by=[by]).rename(
        columns={by: c.LOCAL_DAY}
    )


def _by_place(inputs: Inputs) -> pd.DataFrame:
    """By channel, and by device where the users table knows it; a column that knows one value alone says nothing."""
    users = inputs.table("users")
    found = []
    for by in (c.CHANNEL, _DEVICE):
        if by == _DEVICE and users is None:
            continue
        table = abandonment(inputs.rows, last_at_us=inputs.known_until_us(inputs.period), by=[by], users=users)
        if table[by].ne(NONE).sum() > 1:
            found.append(table.rename(columns={by: "name"}).assign(by=by))
    columns = ["by", "name", "num_customers", *_MEASURES]
    return pd.concat(found, ignore_index=True)[columns] if found else pd.DataFrame(columns=columns)


def _cards(total: pd.Series, inputs: Inputs, words: Words) -> list[Card]:
    note = words("funnels.range", low=percent(float(total["rate_low"])), high=percent(float(total["rate_high"])))
    cards = [
        Card(
            value=percent(float(total["rate"])),
            name=words("funnels.cart_left"),
            note=_change(total, inputs, words) or note,
        ),
        Card(value=amount(total["value_left"], inputs.money), name=words("funnels.value_left")),
    ]
    checkouts = _total(inputs, "checkout")
    if not _is_small(checkouts, inputs):
        low, high = percent(float(checkouts["rate_low"])), percent(float(checkouts["rate_high"]))
        note = words("funnels.range", low=low, high=high)
        cards.append(Card(value=percent(float(checkouts["rate"])), name=words("funnels.checkout_left"), note=note))
    return cards


def _change(total: pd.Series, inputs: Inputs, words: Words) -> str:
    if inputs.compared is None:
        return ""
    last_at_us = min(inputs.instants(inputs.compared)[1] - 1, inputs.last_at_us)
    before = abandonment(inputs.rows_of(inputs.compared), last_at_us=last_at_us).iloc[0]
    if _is_small(before, inputs):
        return ""
    low, high = difference_of_shares(
        total["rate"] * total["worth"], total["worth"], before["rate"] * before["worth"], before["worth"]
    )
    change = points(float(total["rate"] - before["rate"]))
    return words("funnels.change", points=change, low=points(float(low)), high=points(float(high)))


def _lines(table: pd.DataFrame, inputs: Inputs, words: Words) -> list[Drawn]:
    if len(table) < 3:
        return []
    weekly = inputs.period.num_days > _WEEKLY_DAYS
    title, name = words(f"funnels.figure_carts_{'week' if weekly else 'day'}"), words("funnels.cart_left")
    rate, low, high = (numbers(table[one]) for one in _RATES)
    svg = lines(
        [words.day(day.date()) for day in table[c.LOCAL_DAY]], {name: rate}, bands={name: (low, high)},
        title=title, description=title, as_share=True,
    )  # fmt: skip
    return [Drawn(svg=svg, caption=title)]


def _listed(table: pd.DataFrame, inputs: Inputs, words: Words) -> Listed:
    def cells(row: Any) -> list[str]:
        name = words("funnels.none") if row.name == NONE else str(row.name)
        rate = interval_text(row.rate, row.rate_low, row.rate_high, words)
        return [words("funnels.place", by=words(f"funnels.by_{row.by}"), name=name), whole(row.num_carts), rate,
                amount(row.value_left, inputs.money)]  # fmt: skip

    heads = ("place", "carts", "cart_left", "value_left")
    return Listed(
        caption=words("funnels.carts_table"),
        columns=[words(f"funnels.head_{one}") for one in heads],
        rows=[cells(row) for row in records(table)],
        open=True,
    )
