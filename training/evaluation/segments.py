"""Who is asked: each customer's lifecycle stage on the day before the test, by nothing that came later."""

from __future__ import annotations

import datetime as dt
import logging
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from features import columns as c
from features.build import FeatureSet
from features.engine import private_connection
from features.event_log import EventLog
from features.settings import EngineSettings
from features.splits import Split
from features.tables.lifecycle import lifecycle
from features.tables.orders import interactions, purchases

NO_STAGE: Final = ""

log = logging.getLogger(__name__)


def stages_before_test(
    features: FeatureSet, split: Split, *, engine: EngineSettings = EngineSettings()
) -> npt.NDArray[np.object_] | None:
    """Return the lifecycle stage of each row of the sequences, ``""`` for users whose rows may not serve analytics.

    The feature directory's own customer table stands at the end of the log and has seen the test window. So
    the stages are drawn again from the log, as of the last local day that ended before the test cut-off.

    Args:
        features: the log, its users and the lifecycle's boundaries.
        split: gives the cut-off.
        engine: memory limit, threads, where to spill.

    Returns:
        str ``[U]``; nothing for leave-one-out, where each customer is asked at an instant of their own.
    """
    if split.cutoffs_us is None:
        return None
    as_of = day_before(split.cutoffs_us[1], features)
    stage = _stages(features, as_of, engine)
    found = np.array([stage.get(user, NO_STAGE) for user in features.users.ids], dtype=object)
    log.info("lifecycle: %d of %d users have a stage as of %s", (found != NO_STAGE).sum(), len(found), as_of)
    return found


def day_before(instant_us: int, features: FeatureSet) -> dt.date:
    """Return the last day that was over, in the shop's zone, at an instant in UTC microseconds."""
    local = dt.datetime.fromtimestamp(instant_us / 1e6, tz=features.shop.zone)
    return local.date() - dt.timedelta(days=1)


def _stages(features: FeatureSet, as_of: dt.date, engine: EngineSettings) -> dict[str, str]:
    days = _days_of_events(features.event_log, as_of, engine)
    clocks = days[[c.USER_ID]].drop_duplicates().merge(purchases(days), on=c.USER_ID, how="left")
    clocks = clocks.merge(interactions(days), on=c.USER_ID, how="left")
    frame = lifecycle(clocks, as_of=as_of, settings=features.shop.lifecycle)
    return dict(zip(frame[c.USER_ID], frame["lifecycle"], strict=True))


def _days_of_events(log_file: EventLog, as_of: dt.date, engine: EngineSettings) -> pd.DataFrame:
    """Return one row a user, event type and day up to ``as_of``: all that the clocks of the lifecycle read.

    The columns of money that ``purchases`` asks for as well are empty.
    """
    with private_connection(engine, beside=log_file.path.parent) as connection:
        rows = log_file.relation(connection, purpose=c.ANALYTICS).filter(f"{c.LOCAL_DAY} <= DATE '{as_of}'")
        days = rows.select(c.USER_ID, c.EVENT_TYPE, c.LOCAL_DAY).distinct().df()
    return days.assign(**{c.ORDER_ID: pd.Series(None, dtype="str"), c.QUANTITY: 1, c.PRICE: 0})
