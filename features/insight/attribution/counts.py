"""Journeys as counts of distinct paths: what every model runs on, however long the log was.

P rows (a path, converted or not, of one group of users), S steps of all rows, C touches, G groups of users
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.errors import DataError
from features.insight.attribution.definition import DEFAULT, DIRECT, AttributionDefinition
from features.insight.attribution.journeys import CODE_BASE, Days, journey_counts
from features.insight.collecting import collected

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.integer]
NUM_GROUPS: Final = 256


@dataclass(frozen=True, kw_only=True, eq=False)
class JourneyCounts:
    """How often each path was taken, by groups of users.

    Args:
        touches: names of the ``C`` touches.
        offsets: where each row's path begins in ``step``, one more at the end, ``[P + 1]``.
        step: touches of all paths in order, ``[S]``.
        group: of users, ``[P]``, 0 to ``G - 1``.
        converted: whether the row's journeys ended in a conversion, ``[P]``.
        journeys: how many, ``[P]``.
        revenue: minor units, ``[P]``.
        decayed: conversions and revenue by time decay, which paths do not tell, ``[G, C, 2]``.
    """

    touches: tuple[str, ...]
    offsets: Ints
    step: Ints
    group: Ints
    converted: npt.NDArray[np.bool_]
    journeys: Floats
    revenue: Floats
    decayed: Floats

    @classmethod
    def of_events(
        cls, events: object, definition: AttributionDefinition = DEFAULT, *, days: Days | None = None
    ) -> JourneyCounts:
        """Count the journeys of a log; see ``journeys``.

        Args:
            events: rows of the event log, a frame of pandas, DuckDB or PySpark.
            definition: which rows are touches, and how they lead to a conversion.
            days: local days of the conversions, both included.

        Raises:
            DataError: the log has no touch and no conversion, or more touches than names can be kept for.
        """
        return cls.of_table(collected(journey_counts(events, definition, days=days)))

    @classmethod
    def of_table(cls, table: pd.DataFrame) -> JourneyCounts:
        """Read what ``journey_counts`` returns.

        Raises:
            DataError: it holds no path, or too many touches.
        """
        names, rows, decays = (table[table["kind"] == kind] for kind in ("touch", "path", "decay"))
        if rows.empty:
            raise DataError("attribution: expected one touch or conversion in these rows, found none.")
        if len(names) >= CODE_BASE:
            raise DataError(
                f"attribution: expected up to {CODE_BASE - 1} different touches, found {len(names)}; choose a coarser column."
            )
        rows = rows.sort_values(["user_group", "name", "converted"])
        text = ",".join(rows["name"])
        packed = np.array(text.split(","), dtype=np.int64)
        lengths = rows["name"].str.count(",").to_numpy() + 1
        group = _group(rows)
        decayed = np.zeros((NUM_GROUPS, len(names), 2))
        code = decays["name"].astype(int).to_numpy() - 1
        decayed[_group(decays), code] = decays[["conversions", "revenue"]].to_numpy(np.float64)
        return cls(
            touches=tuple(names.sort_values("num_journeys")["name"]),
            offsets=np.concatenate([[0], np.cumsum(lengths)]),
            step=packed % CODE_BASE - 1,
            group=group,
            converted=rows["converted"].to_numpy() == 1,
            journeys=rows["num_journeys"].to_numpy(np.float64),
            revenue=rows["revenue"].to_numpy(np.float64),
            decayed=decayed,
        )

    @classmethod
    def of_paths(cls, paths: dict[tuple[str, ...], tuple[int, int, float]]) -> JourneyCounts:
        """Return counts of paths that are known, each in a group of its own; time decay is left at 0.

        Args:
            paths: path -> journeys that converted, journeys that did not, revenue of the former.
        """
        touches = tuple(sorted({DIRECT, *(touch for path in paths for touch in path)}))
        code = {touch: number for number, touch in enumerate(touches)}
        rows = [
            (path, group, *row)
            for group, (path, (won, lost, revenue)) in enumerate(paths.items())
            for row in ((True, won, revenue), (False, lost, 0.0))
            if row[1]
        ]
        return cls(
            touches=touches,
            offsets=np.concatenate([[0], np.cumsum([len(row[0]) for row in rows])]).astype(np.int64),
            step=np.array([code[touch] for row in rows for touch in row[0]], np.int64),
            group=np.array([row[1] for row in rows], np.int64),
            converted=np.array([row[2] for row in rows], bool),
            journeys=np.array([row[3] for row in rows], np.float64),
            revenue=np.array([row[4] for row in rows], np.float64),
            decayed=np.zeros((len(paths), len(touches), 2)),
        )

    @property
    def num_touches(self) -> int:
        """C."""
        return len(self.touches)

    @property
    def num_groups(self) -> int:
        """G."""
        return len(self.decayed)

    @property
    def direct(self) -> int:
        """The touch that stands for customers who came by themselves."""
        return self.touches.index(DIRECT)

    @cached_property
    def lengths(self) -> Ints:
        """Steps of each row's path, ``[P]``."""
        return np.diff(self.offsets)

    @cached_property
    def row(self) -> Ints:
        """The row of each step, ``[S]``."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    @cached_property
    def conversions(self) -> Floats:
        """Conversions of each row, ``[P]``."""
        return np.where(self.converted, self.journeys, 0.0)

    @property
    def total(self) -> Floats:
        """Conversions and revenue of all, ``[2]``."""
        return np.array([self.conversions.sum(), self.revenue.sum()])

    @cached_property
    def customers(self) -> Ints:
        """At least so many customers converted by a journey with each touch, ``[C]``: groups with one such."""
        won = self.converted[self.row]
        cells = np.unique(self.group[self.row][won] * self.num_touches + self.step[won])
        return np.bincount(cells % self.num_touches, minlength=self.num_touches)

    def paths(self, *, top: int = 20) -> pd.DataFrame:
        """Return the paths that most conversions took.

        Args:
            top: how many.

        Returns:
            path (touches joined by " > "), num_touches, num_conversions, num_journeys, revenue, customers (at least so
            many converted by it); most conversions first.
        """
        codes = [",".join(map(str, self.step[a:b])) for a, b in zip(self.offsets, self.offsets[1:], strict=False)]
        frame = pd.DataFrame(
            {
                "path": codes,
                "num_touches": self.lengths,
                "num_conversions": self.conversions,
                "num_journeys": self.journeys,
                "revenue": self.revenue,
                "customers": np.where(self.converted, self.group, np.nan),
            }
        )
        sums = frame.groupby(["path", "num_touches"], as_index=False).agg(
            {"num_conversions": "sum", "num_journeys": "sum", "revenue": "sum", "customers": "nunique"}
        )
        sums = sums.sort_values(["num_conversions", "num_journeys", "path"], ascending=[False, False, True]).head(top)
        sums["path"] = [" > ".join(self.touches[int(code)] for code in path.split(",")) for path in sums["path"]]
        counts = ["num_conversions", "num_journeys"]
        return sums.astype(dict.fromkeys(counts, "int64")).reset_index(drop=True)


def _group(rows: pd.DataFrame) -> Ints:
    return np.array([int(digits, 16) for digits in rows["user_group"]], np.int64)
