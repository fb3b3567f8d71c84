"""How well an order of customers finds those whom a campaign moves: Qini, AUUC, uplift at k, with intervals.

The areas are stated in one of these ways:

    customers              area between curve and straight line, over N times the customers treated (Qini) or N times N
                           (AUUC): mean gain over the share treated, in outcomes a customer; any outcome will do
    perfect                over the same area of an order that knew who would come: treated who came first, held-out who
                           came last; 1 is perfect, 0 random. scikit-uplift's qini_auc_score and uplift_auc_score
    perfect_without_harm   Qini alone: the perfect order where nobody is put off: up to the whole gain as steeply as can
                           be, then flat. scikit-uplift's qini_auc_score(negative_effect=False)

A perfect order by outcomes is out of any model's reach (nobody can know who comes by chance), so that 0.05 may be good.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.errors import ConfigError
from features.insight.definitions import check_choice
from features.insight.uplift.curves import Counts, Curve, Kind, Order
from features.insight.uplift.trial import Floats, Trial

Normalisation = Literal["customers", "perfect", "perfect_without_harm"]
NORMALISATIONS: Final[tuple[Normalisation, ...]] = get_args(Normalisation)
SHARES: Final = (0.1, 0.2, 0.3)


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """What is scored.

    Args:
        shares: of the customers, first in the order, whose uplift is told (uplift at k).
        normalisation: of the areas, see the module; ``perfect`` ones need an outcome of 0 or 1.
        resamples: of the bootstrap: customers are drawn anew within each arm; 0 for none.
        level: of the intervals, by percentiles.
        seed: of the bootstrap.
    """

    shares: tuple[float, ...] = SHARES
    normalisation: Normalisation = "customers"
    resamples: int = 200
    level: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("normalisation", self.normalisation, NORMALISATIONS)
        for share in self.shares:
            if not 0 < share <= 1:
                raise ConfigError(f"shares: expected shares above 0 up to 1, found {share!r}.")
        if self.resamples < 0 or not 0.5 <= self.level < 1:
            raise ConfigError(
                "scoring: expected resamples of 0 or more and a level such as 0.95, "
                f"found {self.resamples!r} and {self.level!r}."
            )


def qini_coefficient(trial: Trial, score: npt.ArrayLike, *, normalisation: Normalisation = "customers") -> float:
    """Return the area between the Qini curve and the straight line, stated as the module says.

    Args:
        trial: customers of both arms.
        score: the higher, the sooner treated, ``[N]``.
        normalisation: see the module.

    Raises:
        ConfigError: the normalisation is unknown, or it needs outcomes of 0 or 1.
    """
    return _Area(trial, "qini", normalisation)(Counts.of(trial, Order.by(score)).curve("qini"))


def auuc(trial: Trial, score: npt.ArrayLike, *, normalisation: Normalisation = "customers") -> float:
    """Return the area between the uplift curve and the straight line; see ``qini_coefficient``."""
    return _Area(trial, "uplift", normalisation)(Counts.of(trial, Order.by(score)).curve("uplift"))


def uplift_at(trial: Trial, score: npt.ArrayLike, share: float) -> float:
    """Return the treated's mean outcome less the control's, among the first ``share`` of all customers by score."""
    return Counts.of(trial, Order.by(score)).uplift_of_first(share)


def scores(trial: Trial, score: npt.ArrayLike, scoring: Scoring = Scoring()) -> pd.DataFrame:
    """Return the scores of an order with their intervals.

    The intervals are of the order as it is, over customers; that the model was fitted on a sample is not in them.

    Returns:
        measure (``qini``, ``auuc``, ``uplift``), share (of ``uplift``; 1 of the others), value, low, high.
    """
    order, areas = Order.by(score), _areas(trial, scoring.normalisation)
    value = _measured(trial, order, areas, scoring.shares)
    draws = [
        _measured(trial, order, areas, scoring.shares, weight)
        for weight in _weights(trial, scoring.resamples, seed=scoring.seed)
    ]
    names = [*("auuc" if area.kind == "uplift" else area.kind for area in areas), *["uplift"] * len(scoring.shares)]
    frame = pd.DataFrame({"measure": names, "share": [*[1.0] * len(areas), *scoring.shares], "value": value})
    tails = [(1 - scoring.level) / 2, (1 + scoring.level) / 2]
    low_high = np.nanquantile(draws, tails, axis=0) if draws else np.full((2, len(frame)), np.nan)
    return frame.assign(low=low_high[0], high=low_high[1])


def perfect_order(trial: Trial, kind: Kind) -> Order:
    """Return the order of one who knew what each customer would do; outcomes of 0 or 1.

    qini      treated who came; those who did not; held-out who came
    uplift    the same with one tie broken: of those who did not come the held-out are better to have first, unless
              held-out who came are fewer than treated who did not: then these come after the held-out who came
    """
    came, treated = trial.outcome > 0, trial.treated
    if kind == "qini":
        return Order.by(came * np.where(treated, 1, -1))
    put_off = (came & ~treated).sum() > (~came & treated).sum()
    return Order.by(2 * (came == treated) + (came if put_off else treated))


class _Area:
    """Area above the straight line, by what it is stated."""

    def __init__(self, trial: Trial, kind: Kind, normalisation: Normalisation) -> None:
        check_choice("normalisation", normalisation, NORMALISATIONS)
        if normalisation != "customers" and not trial.is_yes_or_no:
            raise ConfigError(
                f"normalisation: expected outcomes of 0 or 1 for {normalisation!r}, found others; ask for 'customers'."
            )
        if normalisation == "perfect_without_harm" and kind == "uplift":
            raise ConfigError("normalisation: expected customers or perfect for AUUC, found 'perfect_without_harm'.")
        self.kind: Kind = kind
        self._trial, self._normalisation = trial, normalisation
        self._perfect = perfect_order(trial, kind) if normalisation == "perfect" else None

    def __call__(self, found: Curve, weight: Floats | None = None) -> float:
        whole = self._whole(found, weight)
        return found.area_above_random / whole if whole > 0 else float("nan")

    def _whole(self, found: Curve, weight: Floats | None) -> float:
        if self._perfect is not None:
            return Counts.of(self._trial, self._perfect, weight).curve(self.kind).area_above_random
        customers, gain = found.customers[-1], found.gain[-1]
        if self._normalisation == "perfect_without_harm":
            return float(gain * (customers - gain) / 2)  # up to (gain, gain), then flat, less the straight line's area
        return float(customers * (self._trial.num_treated if self.kind == "qini" else customers))


def _areas(trial: Trial, normalisation: Normalisation) -> list[_Area]:
    same: Normalisation = "customers" if normalisation == "customers" else "perfect"  # nothing is without harm but Qini
    return [_Area(trial, "qini", normalisation), _Area(trial, "uplift", same)]


def _measured(
    trial: Trial, order: Order, areas: Sequence[_Area], shares: Sequence[float], weight: Floats | None = None
) -> list[float]:
    counts = Counts.of(trial, order, weight)
    found = [area(counts.curve(area.kind), weight) for area in areas]
    return found + [counts.uplift_of_first(share) for share in shares]


def _weights(trial: Trial, resamples: int, *, seed: int) -> Iterator[Floats]:
    """Yield how often each customer is drawn, ``[N]``: as many of each arm as there are, with replacement."""
    rng = np.random.default_rng(seed)
    arms = [np.flatnonzero(trial.treated == on) for on in (True, False)]
    for _ in range(resamples):
        weight = np.zeros(trial.num_customers)
        for rows in arms:
            weight[rows] = np.bincount(rng.integers(len(rows), size=len(rows)), minlength=len(rows))
        yield weight
