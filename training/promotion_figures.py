"""What a decision rests on: champion and challenger on one window, and how far the difference could be luck.

The interval of the relative difference comes from draws of whatever was asked (customers, items), the same draws for
both. A refresh is one comparison that was planned. A new configuration may be the luckiest of many, so its interval is
widened after Bonferroni: with n configurations scored on the window, each tail holds 2.5% / n. The percentile interval's
arms are stretched by the ratio of normal quantiles, since draws say little about tails that far out.

Source: Dunn 1961, "Multiple comparisons among means", Journal of the American Statistical Association 56(293).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt

from features.build import FeatureSet
from features.errors import ReleaseError
from features.files import read_json
from features.release import Part
from training.evaluation.bootstrap import Interval
from training.evaluation.champion import Artifact
from training.evaluation.window import AttemptLedger, Window, configuration_digest
from training.retrieval.fit import RESULT_FILE

CHALLENGER: Final = "challenger"
RESAMPLES: Final = 2000
LEVEL: Final = 0.95

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What champion and challenger were worth on one window.

    Args:
        window: what both were scored on.
        champion: its score.
        challenger: the same.
        scored: which artifact stood for each, by role.
        relative: how much better the challenger is than the champion, as a share, with its interval; above 0 is better.
        attempts: comparisons that the interval is widened for.
        num_configurations: configurations scored so far on windows that overlap this one, the champion's included.
    """

    metric: ClassVar[str]
    asked: ClassVar[str]
    better: ClassVar[str] = ""

    window: Window
    champion: float
    challenger: float
    scored: dict[str, Artifact]
    relative: Interval
    attempts: int
    num_configurations: int

    @property
    def num_asked(self) -> int:
        """How many customers, or items, the interval is drawn from."""
        raise NotImplementedError

    @property
    def words(self) -> str:
        """One sentence."""
        found = self.relative
        widened = f", widened for {self.attempts} configurations tried on this window" if self.attempts > 1 else ""
        return (
            f"{self.metric.upper()} {self.challenger:.4f} against {self.champion:.4f} of the champion: "
            f"{found.mean:+.1%}{self.better} ({LEVEL:.0%} interval {found.low:+.1%} to {found.high:+.1%}{widened}) "
            f"over {self.num_asked:,} {self.asked}, {self.window.label}"
        )


def widened_interval(mean: float, drawn: Floats, *, attempts: int) -> Interval:
    """Return the percentile interval of ``drawn`` ``[R]`` around ``mean``, widened for so many attempts."""
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    stretch = NormalDist().inv_cdf(1 - tail / attempts) / NormalDist().inv_cdf(1 - tail)
    return Interval(
        mean=float(mean), low=float(mean + (low - mean) * stretch), high=float(mean + (high - mean) * stretch)
    )


@dataclass(frozen=True, kw_only=True)
class Attempts:
    """How often a window has been tried.

    Args:
        compared: comparisons that an interval on it is widened for, 1 or more.
        num_configurations: scored on it so far, the champion's included.
    """

    compared: int
    num_configurations: int

    @classmethod
    def noted(cls, store: Path, window: Window, *, challenger: Part, champion: Part, refresh: bool) -> Attempts:
        """Note that both are scored on the window, and count."""
        ledger = AttemptLedger(root=store, kind=challenger.kind)
        for part in (challenger, champion):
            ledger.record(window, part)
        tried = ledger.configurations(window)
        others = tried - {configuration_digest(champion)} | {configuration_digest(challenger)}
        return cls(compared=1 if refresh else len(others), num_configurations=len(tried))


def features_of(store: Path, part: Part) -> Path:
    """Return the features that a part's run was trained on, if they still stand there.

    Raises:
        ReleaseError: they do not, or are others now.
    """
    path = store / "runs" / part.run_id / RESULT_FILE
    where = read_json(path).get("features", "") if part.run_id and path.is_file() else ""
    if not (where and Path(where).is_dir()):
        raise ReleaseError("expected features to score both on, found none; name them with --features DIR")
    feature_set = FeatureSet.load(Path(where))
    if feature_set.fingerprint != part.data_fingerprint:
        raise ReleaseError(
            f"{where}: these are not the features any more that {part.version} was trained on; name some with --features DIR"
        )
    return Path(where)
