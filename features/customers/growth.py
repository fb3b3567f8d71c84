"""How a customer develops: newcomer, growing, loyal, silent, lost."""

from __future__ import annotations

from typing import Final

import narwhals as nw
from narwhals.typing import IntoFrameT

from features import columns as c
from features.customers.settings import GrowthSettings
from features.tables.expressions import frame_of

NEWCOMER: Final = "newcomer"
GROWING: Final = "growing"
LOYAL: Final = "loyal"
SILENT: Final = "silent"
LOST: Final = "lost"
GROWTH_STAGES: Final = (NEWCOMER, GROWING, LOYAL, SILENT, LOST)


def growth_stage(buyers: IntoFrameT, *, settings: GrowthSettings) -> IntoFrameT:
    """Return one row a buyer with its stage; the first rule that holds decides.

    With the default settings; a purchase is a day with one:

        lost       last purchase more than 180 days ago
        silent     last purchase more than 60 days ago,
                   or fewer than half as many in the last 90 days as in the 90 before
        newcomer   first purchase at most 30 days ago
        loyal      at least 5 purchases in these 180 days
        growing    everyone else: bought lately, as often as before or more, not yet loyal

    Args:
        buyers: from ``purchase_days.buyers`` with the settings' ``trend_days``.
        settings: the boundaries.

    Returns:
        user_id, growth_stage.
    """
    last, now, before = nw.col("last_days_ago"), nw.col("trend_now"), nw.col("trend_before")
    rules = (
        (last > settings.lost_days, LOST),
        ((last > settings.silent_days) | (now * 100 < before * settings.falling_percent), SILENT),
        (nw.col("first_days_ago") <= settings.newcomer_days, NEWCOMER),
        (now + before >= settings.loyal_purchases, LOYAL),
    )
    stage = nw.lit(GROWING)
    for condition, name in reversed(rules):
        stage = nw.when(condition).then(nw.lit(name)).otherwise(stage)
    return frame_of(buyers).select(c.USER_ID, stage.alias("growth_stage")).to_native()
