"""The demand part of a release: quantiles by day and the decisions that follow from them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from features import columns as c
from features.errors import ReleaseError
from features.release import Part, layout
from features.vocabulary import FIRST, Vocabulary
from serving.errors import RequestError
from serving.schemas import DemandAnswer, DemandPeriod, DemandRequest, ItemDemand


@dataclass(frozen=True, kw_only=True, eq=False)
class DemandBook:
    """Forecasts by item and day, jagged: item ``i`` stands at ``offsets[i]:offsets[i + 1]``.

    Args:
        items: item ids; item ``i`` is code ``i + 2``.
        offsets: int64 ``[I + 1]``.
        days: datetime64[D] ``[N]``, rising within an item.
        means: float64 ``[N]``.
        quantiles: float64 ``[N, 9]``, non-decreasing in a row.
        decisions: by item id.
        part: which part they come from.
    """

    items: Vocabulary
    offsets: npt.NDArray[np.int64]
    days: npt.NDArray[np.datetime64]
    means: npt.NDArray[np.float64]
    quantiles: npt.NDArray[np.float64]
    decisions: dict[str, dict[str, float]]
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
        return cls(
            items=Vocabulary.from_ids(counts.index.astype(str)),
            offsets=np.concatenate([[0], np.cumsum(counts.to_numpy(np.int64))]),
            days=pd.to_datetime(frame[c.DAY]).to_numpy("datetime64[D]"),
            means=frame["mean"].to_numpy(np.float64),
            quantiles=frame[names].to_numpy(np.float64),
            decisions=_decisions(part),
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
            RequestError: none of the items has a forecast.
        """
        unknown = [id_ for id_ in request.item_ids if id_ not in self.items]
        if len(unknown) == len(request.item_ids):
            raise RequestError(
                404,
                "unknown_item",
                f"item_ids: no forecast for any of them, such as {unknown[0]!r}; see the catalogue.",
            )
        known = [self._item(id_, request.days) for id_ in request.item_ids if id_ in self.items]
        return DemandAnswer(
            items=known,
            unknown=unknown,
            frequency=str(self.part.about.get("frequency", "D")),
            as_of=self.as_of,
            model_version=self.part.version,
        )

    def _item(self, item_id: str, days: int | None) -> ItemDemand:
        row = self.items.code_of(item_id) - FIRST
        start, stop = (int(offset) for offset in self.offsets[row : row + 2])
        if days is not None:
            last = self.days[start] + np.timedelta64(days, "D")
            stop = start + int(np.searchsorted(self.days[start:stop], last))
        periods = [self._period(position) for position in range(start, stop)]
        return ItemDemand(item_id=item_id, forecast=periods, decision=self.decisions.get(item_id))

    def _period(self, position: int) -> DemandPeriod:
        levels = zip(layout.QUANTILES, self.quantiles[position].tolist(), strict=True)
        return DemandPeriod(
            day=self.days[position].item(),
            mean=round(float(self.means[position]), 4),
            quantiles={f"{level:.1f}": round(value, 4) for level, value in levels},
        )


def _decisions(part: Part) -> dict[str, dict[str, float]]:
    if layout.DECISIONS not in part.files:
        return {}
    rows = pd.read_parquet(part.path(layout.DECISIONS)).set_index(c.ITEM_ID)
    return {str(id_): _finite(row) for id_, row in zip(rows.index, rows.to_dict("records"), strict=True)}


def _finite(row: dict[Any, Any]) -> dict[str, float]:
    numbers = {str(name): value for name, value in row.items() if isinstance(value, int | float)}
    return {name: value for name, value in numbers.items() if math.isfinite(value)}
