"""The demand network of a part, on one thread: plans of the horizon in, count distributions out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from features import columns as c
from features.demand.calibration import DemandCalibration
from features.demand.count_mixture import CountMixture
from features.demand.plan_columns import PlanColumns
from features.errors import DataError, ReleaseError
from features.release import Part, layout
from serving.onnx_session import session_of

if TYPE_CHECKING:
    import onnxruntime

Floats = npt.NDArray[np.float32]

PLAN: Final = "horizon_plan"
_ROWS_AT_ONCE: Final = 256


@dataclass(frozen=True, kw_only=True, eq=False)
class PlanNetwork:
    """What a what-if needs of a demand part.

    Args:
        session: inputs ``[B, ...]`` to two mixtures ``[B, H]``, of periods and of totals of the first 1 .. H.
        inputs: of each item at the forecast origin, mapped, ``[I, ...]`` by name; among them its plan ``[I, H, P]``.
        rows: of each item id.
        columns: what of the plan may be varied.
        calibration: the level that forecasts are read at, and what each quantile is asked as.
    """

    session: onnxruntime.InferenceSession
    inputs: dict[str, npt.NDArray[np.generic]]
    rows: dict[str, int]
    columns: PlanColumns
    calibration: DemandCalibration

    @classmethod
    def load(cls, part: Part) -> PlanNetwork | None:
        """Open a demand part's network; ``None`` where the part holds none.

        Raises:
            ReleaseError: a file is missing or does not fit.
        """
        if layout.WHAT_IF_MODEL not in part.files:
            return None
        directory = part.directory / layout.WHAT_IF
        session = session_of(part.path(layout.WHAT_IF_MODEL))
        fitted = layout.DEMAND_CALIBRATION in part.files
        try:
            ids = pd.read_parquet(directory / "items.parquet")[c.ITEM_ID].astype(str)
            names = [value.name for value in session.get_inputs()]
            return cls(
                session=session,
                inputs={name: np.load(directory / f"{name}.npy", mmap_mode="r") for name in names},
                rows={id_: row for row, id_ in enumerate(ids)},
                columns=PlanColumns.load(directory),
                calibration=DemandCalibration.load(part.path(layout.DEMAND_CALIBRATION))
                if fitted
                else DemandCalibration(),
            )
        except (DataError, OSError, ValueError, KeyError) as error:
            raise ReleaseError(f"{directory}: cannot be read ({error}); train again or promote another.") from None

    @property
    def horizon(self) -> int:
        """Periods ahead, H."""
        return int(self.inputs[PLAN].shape[1])

    def plans(self, rows: npt.NDArray[np.int64]) -> Floats:
        """Return a copy of what is planned of items, ``[B, H, P]``, on the scale that the network reads."""
        return np.array(self.inputs[PLAN][rows], np.float32)

    def forecast(self, rows: npt.NDArray[np.int64], plans: Floats) -> tuple[CountMixture, CountMixture]:
        """Return the distributions of single periods and of totals under plans at the shop's level, ``[B, H]`` both.

        Args:
            rows: of the items, ``[B]``; an item may stand there more than once.
            plans: ``[B, H, P]``.
        """
        chunks = [
            self._run(rows[start : start + _ROWS_AT_ONCE], plans[start : start + _ROWS_AT_ONCE])
            for start in range(0, len(rows), _ROWS_AT_ONCE)
        ]
        weight, mean, size, *total = (np.concatenate(arrays) for arrays in zip(*chunks, strict=True))
        single = CountMixture(log_weight=weight, log_mean=mean, log_size=size)
        totals = CountMixture(log_weight=total[0], log_mean=total[1], log_size=total[2])
        return single.scaled(self.calibration.level), totals.scaled(self.calibration.level)

    def _run(self, rows: npt.NDArray[np.int64], plans: Floats) -> list[Floats]:
        fixed = {name: np.ascontiguousarray(array[rows]) for name, array in self.inputs.items() if name != PLAN}
        found: list[Floats] = self.session.run(None, fixed | {PLAN: plans})
        return found
