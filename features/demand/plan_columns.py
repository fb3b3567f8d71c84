"""What of a horizon's plan may be varied: columns, where a demand network reads them, and what was planned before."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from features import columns as c
from features.errors import DataError
from features.files import read_json, write_json

Floats = npt.NDArray[np.float32]

PLANNED_PRICE: Final = "planned_price"
_COLUMNS_FILE: Final = "plan_columns.json"
_LOW_FILE, _HIGH_FILE = "seen_low.npy", "seen_high.npy"


def symlog(values: npt.NDArray[np.floating]) -> Floats:
    """Return ``sign(x) log1p(|x|)``: no statistics that a flat or a skewed column could break.

    >>> symlog(np.array([0.0, np.e - 1, 1 - np.e])).round(3).tolist()
    [0.0, 1.0, -1.0]
    """
    array = np.asarray(values, np.float32)
    return np.sign(array) * np.log1p(np.abs(array))


@dataclass(frozen=True, kw_only=True, eq=False)
class PlanColumn:
    """One column of the plan; 0 means that nothing is planned, as in the panel.

    Args:
        name: as the panel has it.
        position: of the network's plan features, which hold ``symlog`` of the value.
        low: least that was planned of each item in the past, zeros aside, ``[I]``; NaN where nothing was.
        high: most, ``[I]``.
    """

    name: str
    position: int
    low: Floats
    high: Floats

    @property
    def label(self) -> str:
        """As the contract's plan table has it."""
        return c.PRICE if self.name == PLANNED_PRICE else self.name


@dataclass(frozen=True, kw_only=True, eq=False)
class PlanColumns:
    """All columns that may be varied.

    Args:
        columns: in their order.
        patterns: which columns were planned together in some period of some item: bit ``n`` is column ``n``.
    """

    columns: tuple[PlanColumn, ...]
    patterns: tuple[int, ...]

    @property
    def labels(self) -> list[str]:
        """What callers name the columns."""
        return [column.label for column in self.columns]

    def save(self, directory: Path) -> None:
        """Write ``plan_columns.json`` and the ranges, ``.npy`` ``[I, E]``."""
        names = [{"name": column.name, "position": column.position} for column in self.columns]
        np.save(directory / _LOW_FILE, np.stack([column.low for column in self.columns], axis=1))
        np.save(directory / _HIGH_FILE, np.stack([column.high for column in self.columns], axis=1))
        write_json(directory / _COLUMNS_FILE, {"columns": names, "patterns": list(self.patterns)})

    @classmethod
    def load(cls, directory: Path) -> PlanColumns:
        """Map what ``save`` wrote.

        Raises:
            DataError: it is something else.
        """
        about = read_json(directory / _COLUMNS_FILE)
        low, high = (np.load(directory / name, mmap_mode="r") for name in (_LOW_FILE, _HIGH_FILE))
        try:
            columns = tuple(
                PlanColumn(name=one["name"], position=one["position"], low=low[:, number], high=high[:, number])
                for number, one in enumerate(about["columns"])
            )
            return cls(columns=columns, patterns=tuple(about["patterns"]))
        except (KeyError, TypeError, IndexError) as error:
            raise DataError(f"{directory}: expected columns of a plan, found something else ({error!r}).") from None
