"""How good chances are: the area under the curve with its interval, log loss, calibration.

N rows; the score or chance of each, and whether it came.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.integer]

NORMAL: Final = NormalDist().inv_cdf(0.975)
BINS: Final = 10
_LEAST: Final = 1e-12


@dataclass(frozen=True, kw_only=True, eq=False)
class Area:
    """The area under the curve of one score.

    Args:
        auc: the chance that a row that came has a higher score than one that did not; ties count half.
        influence: what each row adds to the area's error, ``[N]``; they sum to 0.
    """

    auc: float
    influence: Floats

    @classmethod
    def of(cls, score: Floats, came: Bools) -> Area:
        """Return the area; both kinds must be there.

        Source: the placements of DeLong, DeLong, Clarke-Pearson 1988.
        """
        from scipy.stats import rankdata  # noqa: PLC0415 - half a second that nobody who serves a model needs

        ranks, num_came, num_others = rankdata(score), came.sum(), (~came).sum()
        within = np.empty(len(score))  # rank among rows of the same kind
        within[came], within[~came] = rankdata(score[came]), rankdata(score[~came])
        beats = np.where(came, (ranks - within) / num_others, 1 - (ranks - within) / num_came)
        area = float(beats[came].mean())
        return cls(auc=area, influence=(beats - area) / np.where(came, num_came, num_others))

    def half_width(self, group: Ints | None = None) -> float:
        """Return half of the 95% interval; rows of one ``group`` ``[N]``, such as a customer's, need not be independent."""
        return _half_width(self.influence, group)

    def less(self, other: Area, group: Ints | None = None) -> tuple[float, float]:
        """Return the difference of two areas of the same rows, and half of its paired 95% interval."""
        return self.auc - other.auc, _half_width(self.influence - other.influence, group)


def _half_width(influence: Floats, group: Ints | None) -> float:
    """The variance is the sum of squares of the groups' influences; source: Obuchowski 1997."""
    places = np.arange(len(influence)) if group is None else np.unique(group, return_inverse=True)[1]
    sums = np.bincount(places, weights=influence)
    return float(NORMAL * np.sqrt((sums**2).sum() * len(sums) / max(len(sums) - 1, 1)))


def log_loss(chance: Floats, came: Bools) -> float:
    """Return the mean of minus the log of the chance that was given to what came; lower is better."""
    given = np.where(came, chance, 1 - chance)
    return float(-np.log(np.maximum(given, _LEAST)).mean())


def reliability(chance: Floats, came: Bools, *, bins: int = BINS) -> list[dict[str, float]]:
    """Return, of bins of equally many rows by chance: the mean chance, the share that came, and the rows."""
    parts = [part for part in np.array_split(np.argsort(chance, kind="stable"), bins) if len(part)]
    return [
        {"chance": float(chance[part].mean()), "came": float(came[part].mean()), "rows": len(part)} for part in parts
    ]


def calibration_error(chance: Floats, came: Bools, *, bins: int = BINS) -> float:
    """Return the expected calibration error: how far chance and share lie apart in a bin, in the mean."""
    rows = reliability(chance, came, bins=bins)
    gaps = [abs(row["chance"] - row["came"]) for row in rows]
    return float(np.average(gaps, weights=[row["rows"] for row in rows]))


def calibration_error_by_luck(chance: Floats, *, bins: int = BINS, samples: int = 100, seed: int = 0) -> float:
    """Return the calibration error that these chances would show in the mean if each were exactly right."""
    rng, rising = np.random.default_rng(seed), np.sort(chance)
    begins = np.cumsum([0, *(len(part) for part in np.array_split(rising, bins) if len(part))])[:-1]
    gaps = [np.add.reduceat(rising - (rng.random(len(rising)) < rising), begins) for _ in range(samples)]
    return float(np.abs(gaps).sum(axis=1).mean() / len(rising))
