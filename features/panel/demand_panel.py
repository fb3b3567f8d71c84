"""Items × days (or weeks) of units sold, with what is known ahead and only afterwards kept apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.errors import DataError
from features.files import read_json, write_json

Floats = npt.NDArray[np.float32]
Int16s = npt.NDArray[np.int16]

PERIOD_DAYS: Final = {"D": 1, "W": 7}


@dataclass(frozen=True, kw_only=True, eq=False)
class DemandPanel:
    """Units of ``I`` items over ``T`` periods, and what may explain them.

    A zero is a period in which an item could be had and nobody bought it; NaN is a period that says
    nothing (before the item's launch, or out of stock).

    Args:
        item_ids: str ``[I]``.
        start: first period's day.
        frequency: ``D`` for days, ``W`` for weeks that start on ``start``'s weekday.
        units: float32 ``[I, T]``, >= 0 or NaN.
        known_ahead: float32 ``[I, T + H]`` each: calendar and announced plan; ``H`` further periods are known.
        observed: float32 ``[I, T]`` each: known only afterwards (realised price, views, category heat).
        static: str ``[I]`` each: category, brand.
        planned: names of ``known_ahead`` that come from announcements and not from the calendar.
        announced_ahead: int16 ``[I, T + H]`` where something is planned: how many periods before its period a
            cell was announced, 0 where nothing was. ``None`` where the plan was always known long enough ahead.
        announced: int16 ``[I, T + H]`` each, by name: the same of those ``known_ahead`` that are announced on their
            own and are no part of the plan (outside regressors).
        opening_stock: float32 ``[I, T]``, units on the shelf when a day opened, NaN where nobody counted; ``None``
            where stock is unknown, and for weeks. For analyses; no model reads it.
    """

    item_ids: npt.NDArray[np.object_]
    start: pd.Timestamp
    frequency: Literal["D", "W"]
    units: Floats
    known_ahead: Mapping[str, Floats] = field(default_factory=dict)
    observed: Mapping[str, Floats] = field(default_factory=dict)
    static: Mapping[str, npt.NDArray[np.object_]] = field(default_factory=dict)
    planned: tuple[str, ...] = ()
    announced_ahead: Int16s | None = None
    announced: Mapping[str, Int16s] = field(default_factory=dict)
    opening_stock: Floats | None = None

    def __post_init__(self) -> None:
        if self.units.ndim != 2 or self.units.shape[0] != len(self.item_ids):
            raise DataError(f"DemandPanel: expected units [{len(self.item_ids)}, T], found shape {self.units.shape}.")
        self._expect_items_once()
        self._expect_no_negative_units()
        self._expect_shapes()
        for name in (*self.planned, *self.announced):
            if name not in self.known_ahead:
                raise DataError(
                    f"DemandPanel: expected the planned {name!r} in known_ahead, found {[*self.known_ahead]}."
                )

    def _expect_items_once(self) -> None:
        ids, counts = np.unique(np.asarray(self.item_ids, str), return_counts=True)
        if (counts > 1).any():
            raise DataError(
                f"DemandPanel: expected each item once, found {str(ids[counts.argmax()])!r} {counts.max()} times; "
                "add up its rows or drop the later ones."
            )

    def _expect_no_negative_units(self) -> None:
        if not np.nanmin(self.units, initial=0) < 0:
            return
        item, period = np.argwhere(np.nan_to_num(self.units) < 0)[0]
        raise DataError(
            f"DemandPanel: expected units of 0 or more, found negative ones, such as {self.units[item, period]:g} of "
            f"{self.item_ids[item]!r} on {self.periods[period].date()}; record refunds as refunds."
        )

    def _expect_shapes(self) -> None:
        past = self.units.shape
        ahead = (past[0], past[1] + self.horizon)
        found = [(name, array.shape, ahead) for name, array in self.known_ahead.items()]
        found += [(name, array.shape, ahead) for name, array in self.announced.items()]
        found += [(name, array.shape, past) for name, array in self.observed.items()]
        if self.announced_ahead is not None:
            found.append(("announced_ahead", self.announced_ahead.shape, ahead))
        if self.opening_stock is not None:
            found.append(("opening_stock", self.opening_stock.shape, past))
        for name, shape, expected in found:
            if shape != expected:
                raise DataError(f"DemandPanel: expected {name} of {list(expected)}, found {shape}.")

    @property
    def num_items(self) -> int:
        """I."""
        return self.units.shape[0]

    @property
    def num_periods(self) -> int:
        """T."""
        return self.units.shape[1]

    @property
    def horizon(self) -> int:
        """H: further periods for which ``known_ahead`` is given; 0 where there is none."""
        widths = [array.shape[1] for array in self.known_ahead.values()]
        return min(widths) - self.num_periods if widths else 0

    @property
    def periods(self) -> pd.DatetimeIndex:
        """First day of each of the ``T`` periods."""
        return pd.date_range(self.start, periods=self.num_periods, freq=pd.Timedelta(days=self.period_days))

    @property
    def period_days(self) -> int:
        """Days in a period."""
        return PERIOD_DAYS[self.frequency]

    @property
    def never_sold(self) -> npt.NDArray[np.bool_]:
        """Items that are in the panel although they never sold, as new ones are, ``[I]``."""
        return (np.nanmax(self.units, axis=1, initial=0) <= 0).astype(bool)

    def as_known_at(self, origin: int) -> DemandPanel:
        """Return the panel as it stood when ``origin`` periods had passed: later units are gone.

        What was known ahead stays, and becomes the horizon; what had not been announced yet becomes 0.
        """
        if not 0 < origin <= self.num_periods:
            raise DataError(f"DemandPanel: expected an origin in 1 .. {self.num_periods}, found {origin}.")
        return DemandPanel(
            item_ids=self.item_ids,
            start=self.start,
            frequency=self.frequency,
            units=self.units[:, :origin],
            known_ahead=self._announced_by(origin),
            observed={name: array[:, :origin] for name, array in self.observed.items()},
            static=self.static,
            planned=self.planned,
            announced_ahead=self.announced_ahead,
            announced=self.announced,
            opening_stock=None if self.opening_stock is None else self.opening_stock[:, :origin],
        )

    def announced_of(self, name: str) -> Int16s | None:
        """Return how many periods ahead each cell of a known-ahead column was announced; ``None`` where always."""
        return self.announced_ahead if name in self.planned else self.announced.get(name)

    def _announced_by(self, origin: int) -> Mapping[str, Floats]:
        """Blank announced cells from ``origin`` on that were announced in period ``origin`` or later.

        With origin 10, period 10 needs an announcement 1 period ahead, period 16 one 7 periods ahead.
        """

        def known(array: Floats, ahead: Int16s | None) -> Floats:
            if ahead is None:
                return array
            needed = np.arange(array.shape[1]) - origin + 1
            return np.where((needed <= 0) | (ahead >= needed), array, np.float32(0))

        return {name: known(array, self.announced_of(name)) for name, array in self.known_ahead.items()}

    def save(self, directory: Path) -> None:
        """Write one ``.npy`` an array, a Parquet table of items, and ``panel.json``."""
        directory.mkdir(parents=True, exist_ok=True)
        np.save(directory / "units.npy", self.units)
        groups: dict[str, Mapping[str, npt.NDArray[np.generic]]] = {
            "known_ahead": self.known_ahead,
            "observed": self.observed,
            "announced": self.announced,
        }
        for group, arrays in groups.items():
            for name, array in arrays.items():
                np.save(directory / f"{group}.{name}.npy", array)
        if self.announced_ahead is not None:
            np.save(directory / "announced_ahead.npy", self.announced_ahead)
        if self.opening_stock is not None:
            np.save(directory / "opening_stock.npy", self.opening_stock)
        pd.DataFrame({"item_id": self.item_ids, **self.static}).to_parquet(directory / "items.parquet", index=False)
        about = {
            "start": self.start.date().isoformat(),
            "frequency": self.frequency,
            **{group: list(arrays) for group, arrays in groups.items()},
            "static": list(self.static),
            "planned": list(self.planned),
            "announced_ahead": self.announced_ahead is not None,
            "opening_stock": self.opening_stock is not None,
        }
        write_json(directory / "panel.json", about)

    @classmethod
    def load(cls, directory: Path) -> DemandPanel:
        """Map what ``save`` wrote."""
        about = read_json(directory / "panel.json")
        items = pd.read_parquet(directory / "items.parquet")

        def arrays(group: str) -> dict[str, Any]:
            return {name: np.load(directory / f"{group}.{name}.npy", mmap_mode="r") for name in about.get(group, ())}

        def array(name: str) -> Any:
            return np.load(directory / f"{name}.npy", mmap_mode="r") if about.get(name) else None

        return cls(
            item_ids=items["item_id"].astype(object).to_numpy(),
            start=pd.Timestamp(about["start"]),
            frequency=about["frequency"],
            units=np.load(directory / "units.npy", mmap_mode="r"),
            known_ahead=arrays("known_ahead"),
            observed=arrays("observed"),
            static={name: items[name].astype(object).to_numpy() for name in about["static"]},
            planned=tuple(about.get("planned", ())),
            announced_ahead=array("announced_ahead"),
            announced=arrays("announced"),
            opening_stock=array("opening_stock"),
        )
