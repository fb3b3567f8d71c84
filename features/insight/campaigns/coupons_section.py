"""How coupons were used: the section."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pandas as pd

from features import columns as c
from features.insight.campaigns.coupons import coupon_campaigns, coupon_customers, coupon_rates, coupon_use
from features.insight.campaigns.messages import NO_NAME
from features.insight.collecting import collected
from features.insight.inputs import Inputs
from features.privacy.small_groups import Suppressed, suppress_small_groups
from features.report.charts import bars
from features.report.sections import (
    Definition,
    Drawn,
    Listed,
    Section,
    amount,
    decimal,
    hidden_note,
    records,
    share_text,
    whole,
)
from features.report.words import Words

_IN_FIGURE: Final = 12
_SUMS: Final = ("issued", "used", "open", "late", "not_issued", "orders", "revenue", "discount")
_OF_USE: Final = (*_SUMS[1:], "days_to_use", "rate", "low", "high")
_HEADS: Final = ("campaign", "issued", "used", "rate", "days_to_use", "orders", "revenue", "discount")


def coupon_section(inputs: Inputs, words: Words) -> Section | None:
    """Return how coupons given in the period were used, nothing where none was, or too few customers did."""
    coupons = inputs.table("coupons")
    if coupons is None:
        return None
    first_us, last_us = inputs.instants(inputs.period)
    given = coupons.filter(f"epoch_us(issued_at) >= {first_us} AND epoch_us(issued_at) < {last_us}")
    use = collected(coupon_use(inputs.log, given, last_at_us=inputs.last_at_us))
    use = use[use["issued"] > 0]
    if use.empty:
        return None
    by = by_campaign(use, collected(coupon_campaigns(inputs.log, given)))
    behind = collected(coupon_customers(inputs.log, given))
    users = int(behind["users"].sum())
    if behind["holders"].sum() < inputs.minimum or 0 < users < inputs.minimum:
        return None
    hidden = suppressed_use(by, behind, minimum=inputs.minimum)
    whole_ = records(coupon_rates(use[list(_SUMS)].sum().to_frame().T))[0]
    shown = hidden.frame[hidden.frame["rate"].notna()].sort_values("rate", ascending=False, kind="stable")[:_IN_FIGURE]
    return Section(
        name="coupons",
        title=words("campaigns.coupons_title", share=share_text(whole_.rate)),
        text=words("campaigns.coupons_text", issued=int(whole_.issued), coupons=len(use)),
        finding=words("campaigns.coupons_finding", share=share_text(whole_.rate), low=share_text(whole_.low),
                      high=share_text(whole_.high), revenue=amount(whole_.revenue, inputs.money)),
        drawn=[_figure(shown, words)] if len(shown) else [],
        listed=[_listed(hidden.frame, inputs, words)],
        notes=[*_notes(whole_, words, minimum=inputs.minimum), *hidden_note(words, hidden, inputs.minimum)],
        defined=[Definition(name=words("campaigns.coupon_use"), text=words("campaigns.coupon_use_text"))],
        tables={"by_campaign": hidden.frame},
    )  # fmt: skip


def by_campaign(use: pd.DataFrame, campaigns: pd.DataFrame) -> pd.DataFrame:
    """Return the use of coupons by the campaign that gave them, coupons of none together.

    Returns:
        campaign_id, issued, used, open, late, not_issued, orders, revenue, discount (sums over its coupons),
        days_to_use (mean of those who used one), rate, low, high.
    """
    named = use.merge(campaigns[[c.COUPON_ID, c.CAMPAIGN_ID]], on=c.COUPON_ID, how="left")
    named[c.CAMPAIGN_ID] = named[c.CAMPAIGN_ID].fillna(NO_NAME)
    named["waited"] = named["days_to_use"].fillna(0) * named["used"]
    sums = named.groupby(c.CAMPAIGN_ID)[[*_SUMS, "waited"]].sum().reset_index()
    sums["days_to_use"] = (sums["waited"] / sums["used"]).where(sums["used"] > 0)
    return coupon_rates(sums.drop(columns="waited"))


def suppressed_use(by: pd.DataFrame, behind: pd.DataFrame, *, minimum: int) -> Suppressed:
    """Return the use of coupons by campaign without what rests on few customers; the total of all campaigns is shown.

    Args:
        by: from ``by_campaign``.
        behind: from ``coupon_customers``.
        minimum: the fewest customers that are shown: holders for all of a row, users for what came of its coupons.
    """
    named = behind.assign(**{c.CAMPAIGN_ID: behind[c.CAMPAIGN_ID].fillna(NO_NAME)})
    counted = by.merge(named, on=c.CAMPAIGN_ID, how="left")
    hidden = suppress_small_groups(counted, counts="holders", minimum=minimum, measures=["issued", *_OF_USE])
    of_use = suppress_small_groups(counted, counts="users", minimum=minimum, measures=_OF_USE)
    frame = hidden.frame.drop(columns=["holders", "users"])
    frame.loc[of_use.hidden, list(_OF_USE)] = pd.NA
    either = hidden.hidden | of_use.hidden
    small = hidden.num_small + int((of_use.hidden & ~hidden.hidden).sum())
    return replace(hidden, frame=frame, hidden=either, num_small=small)


def _figure(shown: pd.DataFrame, words: Words) -> Drawn:
    title = words("campaigns.coupons_figure")
    names = [_campaign(str(name), words) for name in shown[c.CAMPAIGN_ID]]
    texts = [share_text(rate) for rate in shown["rate"]]
    svg = bars(names, shown["rate"].astype(float), texts, title=title, description=title)
    return Drawn(svg=svg, caption=title)


def _listed(table: pd.DataFrame, inputs: Inputs, words: Words) -> Listed:
    rows = [
        [_campaign(row.campaign_id, words), whole(row.issued), whole(row.used), _rate(row, words),
         decimal(row.days_to_use, 1), whole(row.orders), amount(row.revenue, inputs.money),
         amount(row.discount, inputs.money)]
        for row in records(table)
    ]  # fmt: skip
    columns = [words(f"campaigns.head_{head}") for head in _HEADS]
    return Listed(caption=words("campaigns.coupons_listed"), columns=columns, rows=rows)


def _rate(row: object, words: Words) -> str:
    rate, low, high = (share_text(getattr(row, name)) for name in ("rate", "low", "high"))
    return rate if pd.isna(getattr(row, "low")) else words("campaigns.range", value=rate, low=low, high=high)  # noqa: B009


def _notes(row: object, words: Words, *, minimum: int) -> list[str]:
    notes = [words("campaigns.coupons_warning")]
    for name in ("open", "late", "not_issued"):
        count = int(getattr(row, name))
        if count >= max(minimum, 1):
            notes.append(words(f"campaigns.coupons_{name}", count=count))
    return notes


def _campaign(name: str, words: Words) -> str:
    return words("campaigns.no_campaign") if name == NO_NAME else name
