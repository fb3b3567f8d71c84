"""Where each customer stands, by two clocks: days since the last purchase and since the last interaction."""

from __future__ import annotations

import datetime as dt
from typing import Final

import narwhals as nw
from narwhals.typing import IntoFrameT

from features import columns as c
from features.settings import LifecycleSettings
from features.tables.expressions import day_number, frame_of

PROSPECT: Final = "prospect"
NEW: Final = "new"
ACTIVE: Final = "active"
COOLING: Final = "cooling"
CHURNED: Final = "churned"
DORMANT: Final = "dormant"
LIFECYCLE_STAGES: Final = (PROSPECT, NEW, ACTIVE, COOLING, CHURNED, DORMANT)


def lifecycle(clocks: IntoFrameT, *, as_of: dt.date, settings: LifecycleSettings) -> IntoFrameT:
    """Return one row a user with its stage; the first rule that holds decides.

    With the default settings, and days counted back from ``as_of``:

        prospect   never bought
        new        first purchase at most 30 days ago
        active     last purchase at most 30 days ago
        cooling    last purchase at most 180 days ago, last interaction at most 90
        churned    last purchase more than 180 days ago
        dormant    last interaction more than 90 days ago

    So someone quiet on both clocks is churned, and a boundary day counts for the livelier stage. Settings
    that leave a gap between cooling and the last two leave those in it cooling.

    Args:
        clocks: user_id, first_purchase_day, last_purchase_day, last_interaction_day; one row a user, null
            where it never happened.
        as_of: the local day on which all clocks stand at 0.
        settings: the boundaries.

    Returns:
        user_id, lifecycle.
    """
    rows = frame_of(clocks)
    seen = nw.coalesce("last_interaction_day", "last_purchase_day").alias("last_seen_day")
    buyers = rows.filter(~nw.col("last_purchase_day").is_null()).with_columns(seen)
    first, last, quiet = (
        _days_since(day, as_of) for day in ("first_purchase_day", "last_purchase_day", "last_seen_day")
    )
    rules = (
        (first <= settings.new_days, NEW),
        (last <= settings.active_days, ACTIVE),
        ((last <= settings.cooling_purchase_days) & (quiet <= settings.cooling_interaction_days), COOLING),
        (last > settings.churned_purchase_days, CHURNED),
        (quiet > settings.dormant_interaction_days, DORMANT),
    )
    stage = nw.lit(COOLING)
    for condition, name in reversed(rules):
        stage = nw.when(condition).then(nw.lit(name)).otherwise(stage)
    staged = rows.select(c.USER_ID).join(buyers.select(c.USER_ID, stage.alias("lifecycle")), on=c.USER_ID, how="left")
    return staged.with_columns(nw.col("lifecycle").fill_null(PROSPECT)).to_native()


def _days_since(day: str, as_of: dt.date) -> nw.Expr:
    return nw.lit(as_of.toordinal()) - day_number(day)
