"""Who is asked, and who buys: the groups that customers stood in on the day before a window, by nothing that came later.

The feature directory's own customer table stands at the end of the log and has seen the window. So the groups are drawn
again from the log, as of the last local day that was over when the window began.
"""

from __future__ import annotations

import datetime as dt
import logging
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from features import columns as c
from features.build import ITEMS_FILE, FeatureSet
from features.customers.groups import RFM_SEGMENTS
from features.customers.growth import GROWTH_STAGES
from features.customers.registry import PARTS
from features.customers.table import CustomerTable
from features.settings import EngineSettings
from features.splits import Split
from features.tables.lifecycle import LIFECYCLE_STAGES

NO_GROUP: Final = ""
# Column of the customer table: what people call it, and its groups in their order.
GROUPINGS: Final = {
    "lifecycle": ("Customer lifecycle", LIFECYCLE_STAGES),
    "growth_stage": ("Growth stage", GROWTH_STAGES),
    "rfm_segment": ("RFM segment", RFM_SEGMENTS),
}

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Grouping:
    """One way to sort customers into groups.

    Args:
        title: such as "Growth stage".
        labels: of the groups, in their order.
        of_user: each user's label, str ``[U]``; ``""`` where it is in none.
    """

    title: str
    labels: tuple[str, ...]
    of_user: npt.NDArray[np.object_]


def groupings_before_test(
    features: FeatureSet, split: Split, *, engine: EngineSettings = EngineSettings()
) -> tuple[Grouping, ...]:
    """Return the groups of each row of the sequences on the day before the test cut-off.

    Args:
        features: the log, its users and the shop's boundaries of the groups.
        split: gives the cut-off.
        engine: memory limit, threads, where to spill.

    Returns:
        one of each of ``GROUPINGS``, without a label for users whose rows may not serve analytics; none for
        leave-one-out, where each customer is asked at an instant of their own.
    """
    if split.cutoffs_us is None:
        return ()
    table = customers_before(features, day_before(split.cutoffs_us[1], features), engine=engine)
    frame = table.frame.set_index(c.USER_ID).reindex(features.users.ids)
    found = tuple(
        Grouping(title=title, labels=labels, of_user=frame[name].astype(object).fillna(NO_GROUP).to_numpy(object))
        for name, (title, labels) in GROUPINGS.items()
    )
    named = {one.title: int((one.of_user != NO_GROUP).sum()) for one in found}
    log.info("customers as of %s: %d users, of whom have one: %s", table.as_of, len(frame), named)
    return found


def customers_before(
    features: FeatureSet, as_of: dt.date, *, engine: EngineSettings = EngineSettings()
) -> CustomerTable:
    """Return the customer table of a day with the columns of ``GROUPINGS`` alone."""
    parts = [part for part in PARTS if any(column.name in GROUPINGS for column in part.columns)]
    items = features.directory / ITEMS_FILE
    return CustomerTable.build(features.event_log, items, as_of=as_of, shop=features.shop, engine=engine, parts=parts)


def day_before(instant_us: int, features: FeatureSet) -> dt.date:
    """Return the last day that was over, in the shop's zone, at an instant in UTC microseconds."""
    local = dt.datetime.fromtimestamp(instant_us / 1e6, tz=features.shop.zone)
    return local.date() - dt.timedelta(days=1)
