"""Who was at a shared device: its anonymous visits, back-filled with the account that logs in before they end.

A visit is a row of events on one device without a gap longer than ``visit_gap_minutes``. Within it an anonymous event
belongs to the next account that is seen; what nobody follows stays with the device.

    10:00  d1 (anonymous)   ->  ann       the next account in this visit
    10:05  d1 ann
    10:20  d1 (anonymous)   ->  d1        nobody logs in after it
    18:00  d1 bob                         another visit
"""

from __future__ import annotations

import datetime as dt

import narwhals as nw
from narwhals.typing import IntoFrameT

from features import columns as c
from features.identity.settings import IdentitySettings
from features.tables.expressions import frame_of, marks


def visits_of_accounts(events: IntoFrameT, devices: IntoFrameT, settings: IdentitySettings) -> IntoFrameT:
    """Return the anonymous instants of shared devices that an account follows in the same visit.

    Where several accounts are seen on a device at one instant, the least by name counts.

    Args:
        events: user_id, device_id, ts; a row whose ``user_id`` is its ``device_id`` is anonymous.
        devices: device_id, one row a device that joined no customer.
        settings: how long a gap ends a visit.

    Returns:
        device_id, ts, account.
    """
    rows = frame_of(events).select(c.USER_ID, c.DEVICE_ID, c.TS)
    rows = rows.join(frame_of(devices).select(c.DEVICE_ID), on=c.DEVICE_ID, how="semi")
    anonymous = nw.col(c.USER_ID) == nw.col(c.DEVICE_ID)
    account = nw.when(~anonymous).then(nw.col(c.USER_ID))
    rows = rows.select(c.DEVICE_ID, c.TS, account.alias("account"), marks(anonymous).alias("anonymous"))
    instants = rows.group_by(c.DEVICE_ID, c.TS).agg(nw.col("account").min(), nw.col("anonymous").max())
    before = nw.col(c.TS).shift(1).over(c.DEVICE_ID, order_by=c.TS)
    instants = instants.with_columns(before.alias("before"))
    gap = dt.timedelta(minutes=settings.visit_gap_minutes)
    begins = nw.when(nw.col(c.TS) <= nw.col("before") + gap).then(nw.lit(0)).otherwise(nw.lit(1)).cast(nw.Int64)
    instants = instants.with_columns(begins.alias("begins"))
    number = nw.col("begins").cum_sum().over(c.DEVICE_ID, order_by=c.TS).cast(nw.Int64)
    instants = instants.with_columns(number.alias("visit"))
    following = nw.col("account").fill_null(strategy="backward").over(c.DEVICE_ID, "visit", order_by=c.TS)
    found = instants.with_columns(following.alias("account")).filter(nw.col("anonymous") == 1)
    return found.filter(~nw.col("account").is_null()).select(c.DEVICE_ID, c.TS, "account").to_native()
