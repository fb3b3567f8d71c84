"""Qini and uplift curves: what a campaign brings that treats the first so many of an order.

    k customers are treated, best score first; n_t, n_c of them were treated and held out, with outcomes y_t, y_c
    Qini      Q(k) = y_t - y_c n_t / n_c                   extra outcomes among those of them that were treated
    uplift    U(k) = (y_t / n_t - y_c / n_c) k             extra outcomes, were all of them treated

Customers of equal score come together: a curve has no point between them. Where an arm has nobody yet its rate counts
as 0.

Sources: Radcliffe 2007, "Using control groups to target on predicted lift"; Devriendt, Van Belle, Guns, Verbeke 2020,
"Learning to rank for uplift modeling".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from features.errors import DataError
from features.insight.uplift.trial import Floats, Trial

Kind = Literal["qini", "uplift"]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """A curve from nobody to everybody.

    Args:
        customers: x: customers treated, from 0 to N, ``[P]``.
        gain: y: extra outcomes, from 0, ``[P]``.
    """

    customers: Floats
    gain: Floats

    @property
    def area(self) -> float:
        """Area below the curve, by trapezes."""
        return float(np.trapezoid(self.gain, self.customers))

    @property
    def area_above_random(self) -> float:
        """Area between the curve and the straight line to its end, which is where a random order leads."""
        return self.area - float(self.customers[-1] * self.gain[-1]) / 2

    def at(self, share: npt.ArrayLike) -> Floats:
        """Return the gain where these shares of the customers are treated, between points on the straight line."""
        return np.interp(np.asarray(share) * self.customers[-1], self.customers, self.gain)


@dataclass(frozen=True, kw_only=True, eq=False)
class Order:
    """Customers from the highest score to the lowest.

    Args:
        row: of the customer at each place, ``[N]``.
        last: the last place of each score, ``[P]``.
    """

    row: Ints
    last: Ints

    @classmethod
    def by(cls, score: npt.ArrayLike) -> Order:
        """Order customers by a score, ``[N]``.

        Raises:
            DataError: a score is missing.
        """
        found = np.asarray(score, np.float64)
        if np.isnan(found).any():
            raise DataError(f"uplift: expected a score for every customer, found {int(np.isnan(found).sum())} missing.")
        row = np.argsort(-found, kind="stable")
        last = np.append(np.flatnonzero(np.diff(found[row])), len(row) - 1)
        return cls(row=row, last=last)


@dataclass(frozen=True, kw_only=True, eq=False)
class Counts:
    """Customers and outcomes of both arms down to each score, from nobody, ``[P + 1]``."""

    treated: Floats
    control: Floats
    treated_outcome: Floats
    control_outcome: Floats

    @classmethod
    def of(cls, trial: Trial, order: Order, weight: Floats | None = None) -> Counts:
        """Count along an order; ``weight`` says how often each customer counts, ``[N]``."""
        assert len(order.row) == trial.num_customers, "an order of other customers"
        number = np.ones(trial.num_customers) if weight is None else weight
        on = number * trial.treated
        arms = on, number - on, on * trial.outcome, (number - on) * trial.outcome
        ends = [np.append(0.0, np.cumsum(values[order.row])[order.last]) for values in arms]
        return cls(treated=ends[0], control=ends[1], treated_outcome=ends[2], control_outcome=ends[3])

    def curve(self, kind: Kind) -> Curve:
        """Return the Qini or the uplift curve."""
        customers = self.treated + self.control
        if kind == "qini":
            return Curve(
                customers=customers,
                gain=self.treated_outcome - self.control_outcome * _over(self.treated, self.control),
            )
        rates = _over(self.treated_outcome, self.treated) - _over(self.control_outcome, self.control)
        return Curve(customers=customers, gain=rates * customers)

    def uplift_of_first(self, share: float) -> float:
        """Return the difference of the arms' means among the first ``share`` of the customers, in (0, 1].

        Of those whose score is just at the cut, each counts in part.
        """
        customers = self.treated + self.control
        cut = share * customers[-1]
        arms = (self.treated, self.control, self.treated_outcome, self.control_outcome)
        treated, control, came, came_anyway = (float(np.interp(cut, customers, counts)) for counts in arms)
        return came / treated - came_anyway / control if treated > 0 and control > 0 else float("nan")


def curve(trial: Trial, score: npt.ArrayLike, *, kind: Kind = "qini") -> Curve:
    """Return the curve of an order by score, ``[N]``.

    >>> trial = Trial(outcome=[1, 0, 1, 0], treated=[True, False, False, True])
    >>> curve(trial, [4, 3, 2, 1]).gain.tolist()
    [0.0, 1.0, 1.0, 0.5, 0.0]
    """
    return Counts.of(trial, Order.by(score)).curve(kind)


def _over(above: Floats, below: Floats) -> Floats:
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)
