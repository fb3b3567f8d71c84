"""The chance that a visit ends in a purchase, from what is known at a moment: a logistic regression, calibrated.

M moments, R numbers that are known of each, K variables made of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from features.chances.calibration import Calibration
from features.chances.logistic import QuadraticLogit
from features.intent.visit import KNOWN
from features.tables.visits import VISIT_EVENTS

Floats = npt.NDArray[np.floating]

_AT: Final = {name: place for place, name in enumerate(KNOWN)}
# Numbers whose logarithm enters.
COUNTS: Final = (*VISIT_EVENTS, "items", "categories", "in_cart", "left_in_cart")
_LOGGED: Final = np.array([_AT[name] for name in COUNTS])
VARIABLES: Final = (
    *COUNTS,
    "again",  # views of one item beyond the first
    "minutes",
    "pause",  # log of the share of pauses inside visits that last longer than this one by now
    "hour_sin",
    "hour_cos",
    "weekend",
    "newcomer",
    "past_rate",  # of visits with a purchase, as a log of how many times the shop's
    "buyer",
    "days_since_purchase",
    "days_since_visit",
)
# Whose squares and products may enter: what happens in the visit, and how ready the customer is.
CROSSED: Final = (
    "view",
    "cart",
    "remove_from_cart",
    "checkout",
    "purchase",
    "items",
    "in_cart",
    "left_in_cart",
    "again",
    "minutes",
    "pause",
    "past_rate",
)
_FRIDAY: Final = 5


# Shares of pauses whose length is kept: the log of the share enters, so that rare long pauses count as short ones do.
PAUSE_SHARES: Final = np.array([1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001])


@dataclass(frozen=True, kw_only=True, eq=False)
class ShopPace:
    """How a shop's visits go, which variables are relative to.

    Args:
        rate: share of visits with a purchase.
        pause_seconds: the length that ``PAUSE_SHARES`` of the pauses inside visits exceed, rising.
    """

    rate: float
    pause_seconds: Floats

    @classmethod
    def of(cls, rate: float, pauses: Floats) -> ShopPace:
        """Summarise pauses between events inside visits, seconds."""
        lengths = np.quantile(pauses, 1 - PAUSE_SHARES) if len(pauses) else np.zeros(len(PAUSE_SHARES))
        lengths[0] = 0.0
        return cls(rate=rate, pause_seconds=np.asarray(lengths, np.float64))

    def pause(self, seconds: Floats) -> Floats:
        """Return the log of the share of pauses that are longer.

        If visits go on with odds o after an event, then after a pause that a share s outlasts, with odds o × s.
        """
        return np.interp(seconds, self.pause_seconds, np.log(PAUSE_SHARES))


def variables(known: Floats, pace: ShopPace) -> Floats:
    """Return ``VARIABLES`` of moments, ``[M, K]``.

    A past rate is mixed with the shop's, which counts as many visits as bring one purchase::

        (buying + 1) / (visits + 1 / rate) / rate

    Args:
        known: as ``visit.KNOWN``, ``[M, R]``.
        pace: of the shop.
    """
    column = {name: known[:, place] for name, place in _AT.items()}
    angle = column["hour"] * (np.pi / 12)
    bought, seen = column["days_since_purchase"], column["days_since_visit"]
    others = (
        np.log1p(np.maximum(column["most_views"] - 1, 0)),
        np.log1p(column["seconds"] / 60),
        pace.pause(column["silent_seconds"]),
        np.sin(angle),
        np.cos(angle),
        column["weekday"] > _FRIDAY,
        column["past_visits"] == 0,
        np.log((column["past_buying_visits"] + 1) / (column["past_visits"] * pace.rate + 1)),
        bought >= 0,
        np.log1p(np.maximum(bought, 0)),
        np.log1p(np.maximum(seen, 0)),
    )
    return np.column_stack([np.log1p(known[:, _LOGGED]), *others])


@dataclass(frozen=True, kw_only=True, eq=False)
class IntentModel:
    """A fitted chance.

    Args:
        logit: of a later purchase in the visit, of those ``VARIABLES`` that it names.
        calibration: from its log odds to the chance.
        pace: of the shop.
        gap_minutes: a longer pause ends a visit.
    """

    logit: QuadraticLogit
    calibration: Calibration
    pace: ShopPace
    gap_minutes: int

    def log_odds(self, known: Floats) -> Floats:
        """Return the log odds before calibration, ``[M]``, of ``known`` ``[M, R]``."""
        return self.logit.logit(self._x(known))

    def chance(self, known: Floats) -> Floats:
        """Return the chance of a later purchase in the visit, ``[M]``, of ``known`` ``[M, R]``."""
        return self.calibration.of(self.log_odds(known))

    def without(self, known: Floats, groups: Sequence[Sequence[str]]) -> tuple[float, Floats]:
        """Return the log odds of one moment, and what each group of variables adds to them.

        What a group adds is what would go if its variables were those of the mean moment of a past visit.

        Args:
            known: of one moment, ``[R]``.
            groups: of names among ``VARIABLES``.
        """
        rows = np.repeat(self._x(known[None]), 1 + len(groups), axis=0)  # [1+G, K]
        for row, names in enumerate(groups, start=1):
            places = [place for place, name in enumerate(self.logit.names) if name in names]
            rows[row, places] = self.logit.center[places]
        found = self.logit.logit(rows)
        return float(found[0]), found[0] - found[1:]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "logit": self.logit.to_dict(),
            "calibration": self.calibration.to_dict(),
            "pace": {"rate": self.pace.rate, "pause_seconds": self.pace.pause_seconds.tolist()},
            "gap_minutes": self.gap_minutes,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> IntentModel:
        """Read what ``to_dict`` wrote."""
        pace = values["pace"]
        return cls(
            logit=QuadraticLogit.from_dict(values["logit"]),
            calibration=Calibration.from_dict(values["calibration"]),
            pace=ShopPace(rate=float(pace["rate"]), pause_seconds=np.array(pace["pause_seconds"], np.float64)),
            gap_minutes=int(values["gap_minutes"]),
        )

    def _x(self, known: Floats) -> Floats:
        places = [VARIABLES.index(name) for name in self.logit.names]
        return variables(known, self.pace)[:, places]
