"""What was spent beside what is credited: cost of a conversion, return on spend, with intervals over users."""

from __future__ import annotations

from typing import Final, TypeVar

import numpy as np
import pandas as pd

from features import columns as c
from features.engine import sql_text
from features.errors import ConfigError
from features.insight.attribution.credits import Credits
from features.insight.attribution.definition import DEFAULT, AttributionDefinition
from features.insight.attribution.journeys import Days
from features.insight.collecting import collected
from features.insight.intervals import LEVEL, Floats, ratio
from features.tables.sql import run

SPEND_COLUMNS: Final = (c.CHANNEL, c.CAMPAIGN_ID)
FrameT = TypeVar("FrameT")


def spend_by_touch(spend: FrameT, definition: AttributionDefinition = DEFAULT, *, days: Days | None = None) -> FrameT:
    """Return what each touch cost.

    Args:
        spend: the contract's table; each day's rows of a channel are added up, those of all campaigns and of none.
        definition: its touches are channels or campaigns, which spend is told of.
        days: local days, both included; all where left out.

    Returns:
        touch, cost (minor units); rows without the column are left out.

    Raises:
        ConfigError: spend is not told of such touches.
    """
    if definition.touch not in SPEND_COLUMNS:
        raise ConfigError(
            f"touch: expected one of {', '.join(SPEND_COLUMNS)} to lay spend beside, found {definition.touch!r}."
        )
    first, last = (sql_text(day.isoformat()) for day in days) if days else ("", "")
    between = f"AND CAST(day AS DATE) BETWEEN DATE {first} AND DATE {last}" if days else ""
    text = f"""
        SELECT {definition.touch} AS touch, CAST(sum(cost) AS BIGINT) AS cost FROM {{spend}}
        WHERE {definition.touch} IS NOT NULL {between} GROUP BY {definition.touch}"""
    return run(text, spend=spend)


def returns(credit: Credits, costs: object, *, level: float = LEVEL) -> pd.DataFrame:
    """Return what a conversion of each touch cost, and what its spend brought back.

    Cost is known; the intervals are those of the credit. What a model credits is not what would be lost without the
    touch: read a return as the model's, see the module's documentation.

    Args:
        credit: of one model.
        costs: from ``spend_by_touch``, of any engine.
        level: of the intervals.

    Returns:
        One row a touch with a cost or a credit: model, touch, cost, conversions, revenue, cost_per_conversion and
        return_on_spend (revenue / cost), each with _low and _high; missing where nothing was spent or nothing came.
    """
    spent = collected(costs).set_index("touch")["cost"]
    touches = [*credit.touches, *sorted(set(spent.index) - set(credit.touches))]
    cost = spent.reindex(touches).to_numpy(np.float64, na_value=np.nan)
    low, high = credit.interval(level=level)
    found, low, high = (_padded(values, len(touches)) for values in (credit.found, low, high))
    frame = pd.DataFrame({"model": credit.model, "touch": touches, "cost": cost})
    frame["conversions"], frame["revenue"] = found[:, 0], found[:, 1]
    # The more conversions, the less each cost: the ends change places.
    for name, conversions in (("", found), ("_low", high), ("_high", low)):
        frame[f"cost_per_conversion{name}"] = ratio(cost, np.where(conversions[:, 0] > 0, conversions[:, 0], np.nan))
    for name, worth in (("", found), ("_low", low), ("_high", high)):
        frame[f"return_on_spend{name}"] = ratio(worth[:, 1], np.where(cost > 0, cost, np.nan))
    return frame


def _padded(values: Floats, length: int) -> Floats:
    """Return rows of 0 for touches that were paid for and never seen."""
    return np.concatenate([values, np.zeros((length - len(values), 2))])
