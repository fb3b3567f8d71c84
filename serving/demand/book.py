"""The demand part of a release: quantiles by day, the decisions that follow from them, and other plans."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from features import columns as c
from features.errors import ReleaseError
from features.release import Part, layout
from features.vocabulary import FIRST, Vocabulary
from serving.api.demand_schemas import DemandAnswer, DemandRequest, ItemDemand, PlannedDemand
from serving.api.errors import RequestError
from serving.demand.alerts import AlertBook
from serving.demand.forecast_rows import ForecastRows
from serving.demand.what_if import WhatIf


@dataclass(frozen=True, kw_only=True, eq=False)
class DemandBook:
    """Forecasts by item and day, and what follows from them.

    Args:
        items: item ids; item ``i`` is code ``i + 2``.
        rows: of item ``i``.
        last_day: of all forecasts; ``None`` where there are none.
        decisions: by item id.
        what_if: other plans; ``None`` where the part answers none.
        alerts: ``None`` where the part was made before there were any.
        part: which part they come from.
    """

    items: Vocabulary
    rows: ForecastRows
    last_day: dt.date | None
    decisions: dict[str, dict[str, float | str]]
    what_if: WhatIf | None
    alerts: AlertBook | None
    part: Part

    @classmethod
    def load(cls, part: Part) -> DemandBook:
        """Read a demand part.

        Raises:
            ReleaseError: a column is missing.
        """
        path = part.path(layout.FORECASTS)
        frame = pd.read_parquet(path)
        names = [layout.quantile_column(level) for level in layout.QUANTILES]
        missing = {c.ITEM_ID, c.DAY, "mean", *names} - set(frame.columns)
        if missing:
            raise ReleaseError(f"{path}: expected columns {sorted(missing)}, found {list(frame.columns)}.")
        frame = frame.sort_values([c.ITEM_ID, c.DAY])
        counts = frame.groupby(c.ITEM_ID, sort=True).size()
        days = pd.to_datetime(frame[c.DAY]).to_numpy("datetime64[D]")
        period_days = 7 if part.about.get("frequency") == "W" else 1
        return cls(
            items=Vocabulary.from_ids(counts.index.astype(str)),
            rows=ForecastRows(
                np.concatenate([[0], np.cumsum(counts.to_numpy(np.int64))]),
                days.tolist(),
                frame["mean"].to_numpy(np.float64),
                frame[names].to_numpy(np.float64),
            ),
            last_day=(days.max() + period_days - 1).item() if len(days) else None,
            decisions=_decisions(part),
            what_if=WhatIf.load(part),
            alerts=AlertBook.load(part),
            part=part,
        )

    @property
    def as_of(self) -> str | None:
        """The instant up to which the forecasts know."""
        as_of = self.part.about.get("as_of")
        return None if as_of is None else str(as_of)

    def answer(self, request: DemandRequest) -> DemandAnswer:
        """Return the forecasts asked for; items without one are listed.

        Raises:
            RequestError: nothing is asked, none of the items has a forecast, or a plan cannot be.
        """
        asked = dict.fromkeys([*request.item_ids, *(change.item_id for change in request.what_if)])
        if not asked:
            raise RequestError(422, "invalid_request", "Expected item_ids or what_if, found neither; name some items.")
        planned = self._planned(request)
        unknown = [id_ for id_ in asked if id_ not in self.items]
        if len(unknown) == len(asked):
            raise RequestError(
                404,
                "unknown_item",
                f"item_ids: no forecast for any of them, such as {unknown[0]!r}; see the catalogue.",
            )
        return DemandAnswer(
            items=[self._item(id_, request.days) for id_ in request.item_ids if id_ in self.items],
            what_if=planned,
            unknown=unknown,
            assumptions=[*self._end(request.days), *self.part.about.get("assumptions", ())],
            frequency=str(self.part.about.get("frequency", "D")),
            as_of=self.as_of,
            model_version=self.part.version,
        )

    def _planned(self, request: DemandRequest) -> list[PlannedDemand]:
        if not request.what_if:
            return []
        if self.what_if is None:
            raise RequestError(
                503,
                "what_if_missing",
                "This demand part answers no other plan: it was made before they could be asked, with "
                "decisions.what_if off, or without a plan; train demand again and promote.",
            )
        self.what_if.check(request.what_if)
        known = [change for change in request.what_if if change.item_id in self.what_if.network.rows]
        periods, period_days = self.what_if.calendar.horizon, self.what_if.calendar.period_days
        if request.days is not None:
            periods = min(periods, -(-request.days // period_days))
        return self.what_if.answer(known, self.decisions, periods=periods)

    def _end(self, days: int | None) -> list[str]:
        """Say so where less is answered than was asked for."""
        if days is None or self.last_day is None or self.as_of is None:
            return []
        ahead = (self.last_day - dt.date.fromisoformat(self.as_of)).days
        if days <= ahead:
            return []
        return [f"{days} days were asked for; the forecasts end on {self.last_day}, {ahead} days ahead."]

    def _item(self, item_id: str, days: int | None) -> ItemDemand:
        row = self.items.code_of(item_id) - FIRST
        return ItemDemand(item_id=item_id, forecast=self.rows.of(row, days=days), decision=self.decisions.get(item_id))


def _decisions(part: Part) -> dict[str, dict[str, float | str]]:
    if layout.DECISIONS not in part.files:
        return {}
    rows = pd.read_parquet(part.path(layout.DECISIONS)).set_index(c.ITEM_ID)
    return {str(id_): _known(row) for id_, row in zip(rows.index, rows.to_dict("records"), strict=True)}


def _known(row: dict[Any, Any]) -> dict[str, float | str]:
    """Return what is known of a decision: finite numbers, and days as text."""
    found: dict[str, float | str] = {}
    for name, value in row.items():
        if isinstance(value, int | float) and math.isfinite(value):
            found[str(name)] = value
        elif isinstance(value, pd.Timestamp) and not pd.isna(value):
            found[str(name)] = value.date().isoformat()
    return found
