"""Items × days (or weeks) of units sold, with what is known ahead and only afterwards kept apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.errors import DataError
from features.files import read_json, write_json

Floats = npt.NDArray[np.float32]


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
    """

    item_ids: npt.NDArray[np.object_]
    start: pd.Timestamp
    frequency: Literal["D", "W"]
    units: Floats
    known_ahead: Mapping[str, Floats] = field(default_factory=dict)
    observed: Mapping[str, Floats] = field(default_factory=dict)
    static: Mapping[str, npt.NDArray[np.object_]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = self.units.shape
        if len(shape) != 2 or shape[0] != len(self.item_ids):
            raise DataError(f"DemandPanel: expected units [{len(self.item_ids)}, T], found shape {shape}.")
        if np.nanmin(self.units, initial=0) < 0:
            raise DataError("DemandPanel: expected units of 0 or more, found negative ones; record refunds as refunds.")
        for name, array in self.known_ahead.items():
            if array.shape != (shape[0], shape[1] + self.horizon):
                raise DataError(
                    f"DemandPanel: expected {name} of [{shape[0]}, {shape[1] + self.horizon}], found {array.shape}."
                )
        for name, array in self.observed.items():
            if array.shape != shape:
                raise DataError(f"DemandPanel: expected {name} of {list(shape)}, found {array.shape}.")

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
        return {"D": 1, "W": 7}[self.frequency]

    def as_known_at(self, origin: int) -> DemandPanel:
        """Return the panel as it stood when ``origin`` periods had passed: later units are gone.

        What was known ahead stays, and becomes the horizon.
        """
        if not 0 < origin <= self.num_periods:
            raise DataError(f"DemandPanel: expected an origin in 1 .. {self.num_periods}, found {origin}.")
        return DemandPanel(
            item_ids=self.item_ids,
            start=self.start,
            frequency=self.frequency,
            units=self.units[:, :origin],
            known_ahead=self.known_ahead,
            observed={name: array[:, :origin] for name, array in self.observed.items()},
            static=self.static,
        )

    def save(self, directory: Path) -> None:
        """Write one ``.npy`` an array, a Parquet table of items, and ``panel.json``."""
        directory.mkdir(parents=True, exist_ok=True)
        np.save(directory / "units.npy", self.units)
        for group, arrays in (("known_ahead", self.known_ahead), ("observed", self.observed)):
            for name, array in arrays.items():
                np.save(directory / f"{group}.{name}.npy", array)
        pd.DataFrame({"item_id": self.item_ids, **self.static}).to_parquet(directory / "items.parquet", index=False)
        about = {
            "start": self.start.date().isoformat(),
            "frequency": self.frequency,
            "known_ahead": list(self.known_ahead),
            "observed": list(self.observed),
            "static": list(self.static),
        }
        write_json(directory / "panel.json", about)

    @classmethod
    def load(cls, directory: Path) -> DemandPanel:
        """Map what ``save`` wrote."""
        about = read_json(directory / "panel.json")
        items = pd.read_parquet(directory / "items.parquet")

        def arrays(group: str) -> dict[str, Floats]:
            return {name: np.load(directory / f"{group}.{name}.npy", mmap_mode="r") for name in about[group]}

        return cls(
            item_ids=items["item_id"].astype(object).to_numpy(),
            start=pd.Timestamp(about["start"]),
            frequency=about["frequency"],
            units=np.load(directory / "units.npy", mmap_mode="r"),
            known_ahead=arrays("known_ahead"),
            observed=arrays("observed"),
            static={name: items[name].astype(object).to_numpy() for name in about["static"]},
        )
