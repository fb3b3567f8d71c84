"""The customer table of a feature directory as of its last day, or as of an earlier one."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from pathlib import Path

from features.build import CUSTOMERS_FILE, EVENT_LOG_FILE, ITEMS_FILE
from features.customers.registry import PARTS
from features.customers.table import CustomerTable
from features.errors import DataError
from features.event_log import EventLog
from features.settings import EngineSettings, ShopSettings


def customers_as_of(
    features: Path, day: dt.date, *, columns: Collection[str], engine: EngineSettings = EngineSettings()
) -> CustomerTable:
    """Return the stored table where it is of that day, or the named columns computed from the log up to it.

    Args:
        features: what ``footfall features`` wrote.
        day: a local day of the log.
        columns: that are needed, with those made together with them; what rests on other tables than the log and
            the items (``users``, ``coupons``, ``plan``) is missing on an earlier day.
        engine: where tables are computed.

    Raises:
        DataError: the day is not one of the log's.
    """
    stored = CustomerTable.load(features / CUSTOMERS_FILE)
    if day == stored.as_of:
        return stored
    log = EventLog.open(features / EVENT_LOG_FILE)
    if not log.first_day <= day <= stored.as_of:
        raise DataError(f"as of: expected a day from {log.first_day} to {stored.as_of}, found {day}.")
    wanted = set(columns)
    parts = [part for part in PARTS if wanted & {column.name for column in part.columns}]
    shop = ShopSettings.load(features)
    return CustomerTable.build(log, features / ITEMS_FILE, as_of=day, shop=shop, engine=engine, parts=parts)
