"""What a randomised campaign leaves behind: who was treated, and what each customer did then."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.errors import DataError

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class Trial:
    """Customers who were dealt an arm at random, whatever they are like.

    Args:
        outcome: what counts, such as 1 for a visit or minor units spent, ``[N]``.
        treated: whether the customer was in the arm that was treated; the others are the control group, ``[N]``.

    Raises:
        DataError: lengths differ, an outcome is not finite, or an arm is empty.
    """

    outcome: Floats
    treated: Bools

    def __post_init__(self) -> None:
        object.__setattr__(self, "outcome", np.asarray(self.outcome, np.float64))
        object.__setattr__(self, "treated", np.asarray(self.treated, bool))
        if self.outcome.shape != self.treated.shape or self.outcome.ndim != 1:
            raise DataError(
                f"trial: expected one outcome and one arm a customer, found {self.outcome.shape} and {self.treated.shape}."
            )
        if not np.isfinite(self.outcome).all():
            num_missing = int((~np.isfinite(self.outcome)).sum())
            raise DataError(f"trial: expected finite outcomes, found {num_missing} that are not; 0 is no purchase.")
        for name, found in (("control", ~self.treated), ("treated", self.treated)):
            if not found.any():
                raise DataError(
                    f"trial: expected a {name} group, found nobody in it among {len(self.treated)} customers; uplift "
                    "needs a campaign that held customers out at random."
                )

    @property
    def num_customers(self) -> int:
        """N."""
        return len(self.outcome)

    @property
    def num_treated(self) -> int:
        """Customers treated."""
        return int(self.treated.sum())

    @property
    def share_treated(self) -> float:
        """Of all customers."""
        return float(self.treated.mean())

    @property
    def is_yes_or_no(self) -> bool:
        """Whether every outcome is 0 or 1."""
        return bool(np.isin(self.outcome, (0.0, 1.0)).all())
