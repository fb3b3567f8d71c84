"""Whose demand is met: each item's units by the group of customer that bought it before the windows.

An item has no segment; its buyers do. So an item's errors, orders and units count for each group by the share of the
item's units that the group bought:

    item  units bought by       loss
    A     loyal 8, new 2        5.0     ->    loyal 4.0, new 1.0
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from features import columns as c
from features.build import FeatureSet
from features.engine import private_connection
from features.privacy.small_groups import suppress_small_groups
from features.settings import EngineSettings
from training.demand.backtesting.scores import Scores
from training.evaluation.segments import GROUPINGS, customers_before

_REPORTED: Final = ("wql", "bias", "pit80")


@dataclass(frozen=True, kw_only=True, eq=False)
class Buyers:
    """One way to sort buyers into groups, and what share of each item's units a group bought.

    Args:
        title: such as "Growth stage".
        labels: of the G groups.
        share: ``[I, G]``, rows add up to 1, or to 0 where nobody known bought the item.
        num_customers: of each group who bought any of the items, ``[G]``.
    """

    title: str
    labels: tuple[str, ...]
    share: npt.NDArray[np.float64]
    num_customers: npt.NDArray[np.int64]


def buyers_before(
    features: FeatureSet, period: int, *, engine: EngineSettings = EngineSettings()
) -> tuple[Buyers, ...]:
    """Return who bought the panel's items before one of its periods; nothing from there on is looked at.

    Args:
        features: the panel and the log; of the log, the rows that may serve analytics.
        period: the first that is not looked at.
        engine: memory limit, threads, where to spill.
    """
    panel = features.panel
    last = (panel.start + pd.Timedelta(days=period * panel.period_days - 1)).date()
    groups = customers_before(features, last, engine=engine).frame[[c.USER_ID, *GROUPINGS]]
    found = []
    with private_connection(engine, beside=features.event_log.path.parent) as connection:
        rows = features.event_log.relation(connection, purpose=c.ANALYTICS)
        bought = rows.filter(f"{c.EVENT_TYPE} = '{c.PURCHASE}' AND {c.LOCAL_DAY} <= DATE '{last}'")
        bought.aggregate("item_id, user_id, sum(coalesce(quantity, 1)) AS units").create_view("bought")
        connection.register("groups", groups)
        connection.register("forecast", pd.DataFrame({c.ITEM_ID: panel.item_ids}))
        for name, (title, labels) in GROUPINGS.items():
            known = (
                f"FROM bought JOIN groups USING (user_id) SEMI JOIN forecast USING (item_id) WHERE {name} IS NOT NULL"
            )
            units = connection.sql(f"SELECT item_id, {name} AS label, sum(units) AS units {known} GROUP BY ALL").df()
            count = connection.sql(f"SELECT {name} AS label, count(DISTINCT user_id) AS n {known} GROUP BY ALL").df()
            table = units.pivot_table(index=c.ITEM_ID, columns="label", values="units", fill_value=0.0)
            wide = table.reindex(index=panel.item_ids, columns=labels, fill_value=0.0).to_numpy(np.float64)
            share = wide / np.maximum(wide.sum(axis=1, keepdims=True), 1e-9)
            num_customers = count.set_index("label")["n"].reindex(labels, fill_value=0).to_numpy(np.int64)
            found.append(Buyers(title=title, labels=labels, share=share, num_customers=num_customers))
    return tuple(found)


def by_buyers(scores: Mapping[str, Scores], buyers: Buyers, *, minimum: int) -> dict[str, Any]:
    """Return every forecaster's metrics by group of buyer; groups that bought nothing are left out.

    Args:
        scores: of the same windows, by forecaster.
        buyers: of the same items.
        minimum: customers of the smallest group that may be shown.

    Returns:
        ``title``; ``note``, blank where no group is too small to show; ``rows``: ``label``, ``share_of_units`` sold in the
        windows, ``models`` by name.
    """
    sizes = pd.DataFrame({"customers": buyers.num_customers})
    shown = suppress_small_groups(sizes, counts="customers", minimum=minimum)
    units = next(iter(scores.values())).units
    rows = [
        {
            "label": label,
            "share_of_units": float(share @ units / units.sum()),
            "models": {name: _values(one.weighted(share)) for name, one in scores.items()},
        }
        for label, share, hidden in zip(buyers.labels, buyers.share.T, shown.hidden, strict=True)
        if share @ units > 0 and not hidden
    ]
    return {"title": buyers.title, "note": shown.note, "rows": rows}


def _values(scores: Scores) -> dict[str, float]:
    return {name: value for name, value in scores.values().items() if name in _REPORTED or name.startswith("service")}
