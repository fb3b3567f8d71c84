"""Which retrieval part is served: a challenger against the champion, on the same newest window.

    the champion's own part              unchanged    nothing to decide
    nothing is served yet                first        promoted
    its configuration, data as new       refresh      promoted if at most 2% worse, for certain
    anything else                        better       promoted if better, for certain

"For certain" is the interval of the relative difference in NDCG@20, from draws of users that both answer. A refresh is one
comparison that was planned. A new configuration may be the luckiest of many, so its interval is widened after Bonferroni:
with n configurations scored on the window, each tail holds 2.5% / n. The percentile interval's arms are stretched by the
ratio of normal quantiles, since draws say little about tails that far out.

Source: Dunn 1961, "Multiple comparisons among means", Journal of the American Statistical Association 56(293).
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from features.build import FeatureSet
from features.errors import DataError, ReleaseError
from features.files import read_json
from features.release import Part, ReleaseStore
from training.evaluation.bootstrap import Interval, resampled_means
from training.evaluation.champion import CHAMPION, Artifact, PartRecommender, scorable_part
from training.evaluation.metrics import user_metrics
from training.evaluation.tasks import Task, tasks_of
from training.evaluation.window import AttemptLedger, Window, configuration_digest
from training.retrieval.config import RetrievalConfig, SplitConfig
from training.retrieval.fit import RESULT_FILE, remembered, split_for

CHALLENGER: Final = "challenger"
METRIC: Final = "ndcg@20"
REFRESH_MARGIN: Final = 0.02  # of the champion's NDCG@20
RESAMPLES: Final = 2000
_K: Final = 20
_LEVEL: Final = 0.95

Rule = Literal["first", "unchanged", "refresh", "better"]
Floats = npt.NDArray[np.float64]

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What champion and challenger were worth on one window.

    Args:
        window: what both were scored on.
        task: ``new``, items new to the customer; ``all``, repeats counted.
        num_users: users asked.
        champion: mean NDCG@20.
        challenger: the same.
        scored: which artifact stood for each, by role.
        relative: challenger / champion - 1, with its interval.
        attempts: comparisons that the interval is widened for.
        num_configurations: configurations scored so far on windows that overlap this one, the champion's included.
    """

    window: Window
    task: str
    num_users: int
    champion: float
    challenger: float
    scored: dict[str, Artifact]
    relative: Interval
    attempts: int
    num_configurations: int

    @property
    def words(self) -> str:
        """One sentence."""
        found = self.relative
        widened = f", widened for {self.attempts} configurations tried on this window" if self.attempts > 1 else ""
        return (
            f"NDCG@20 {self.challenger:.4f} against {self.champion:.4f} of the champion: {found.mean:+.1%} "
            f"({_LEVEL:.0%} interval {found.low:+.1%} to {found.high:+.1%}{widened}) over {self.num_users:,} customers, "
            f"{self.window.label}"
        )


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the rule says of a challenger.

    Args:
        rule: which rule applies.
        earned: whether the challenger has earned its place, by the rule alone; forcing does not change it.
        reason: why, in a sentence.
        figures: what it rests on; ``None`` where nothing was, or could be, scored.
        champion: version that is served now, empty if none.
        challenger: version that asks to be served.
    """

    rule: Rule
    earned: bool
    reason: str
    champion: str
    challenger: str
    figures: Figures | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return dataclasses.asdict(self)


def judge(store: Path, challenger: Part, champion: Part | None, *, features: Path | None, seed: int = 0) -> Verdict:
    """Apply the rule to a retrieval part.

    Args:
        store: release store; the attempt on the window is noted in it.
        challenger: part that asks to be served.
        champion: part that is served now.
        features: whose newest window both are scored on; those that the challenger was trained on where left out.
        seed: of draws and ties.
    """
    rule, promoted, reason, figures = _rule(store, challenger, champion, features=features, seed=seed)
    return Verdict(
        rule=rule,
        earned=promoted,
        reason=reason,
        figures=figures,
        champion=champion.version if champion else "",
        challenger=challenger.version,
    )


def _rule(
    store: Path, challenger: Part, champion: Part | None, *, features: Path | None, seed: int
) -> tuple[Rule, bool, str, Figures | None]:
    if champion is None:
        return "first", True, "nothing was served before", None
    if champion.sha256 == challenger.sha256:
        return "unchanged", True, "this part is the champion", None
    refresh = is_refresh(challenger, champion)
    rule: Rule = "refresh" if refresh else "better"
    try:
        figures = _score(store, challenger, champion, features=features, refresh=refresh, seed=seed)
    except (ReleaseError, DataError) as error:
        return rule, False, f"the two cannot be compared: {str(error).rstrip('.')}", None
    log.info("%s against champion %s: %s", challenger.version, champion.version, figures.words)
    promoted, reason = decide(figures.relative, refresh=refresh)
    return rule, promoted, f"{reason}; {figures.words}", figures


def is_refresh(challenger: Part, champion: Part) -> bool:
    """Whether only the data differ, and the challenger's are no older."""
    ages = [int(part.about.get("as_of_us", 0)) for part in (champion, challenger)]
    return configuration_digest(challenger) == configuration_digest(champion) and ages[0] <= ages[1]


def decide(relative: Interval, *, refresh: bool) -> tuple[bool, str]:
    """Return what the rule says of a relative difference, and why.

    >>> decide(Interval(mean=0.01, low=-0.015, high=0.03), refresh=True)[0]
    True
    >>> decide(Interval(mean=0.01, low=-0.015, high=0.03), refresh=False)[0]
    False
    """
    if refresh:
        least = f"-{REFRESH_MARGIN:.0%}"
        if relative.low > -REFRESH_MARGIN:
            return True, f"the same configuration on data as new, and the interval lies above {least}"
        hint = " (too few customers to tell)" if relative.high > REFRESH_MARGIN else ""
        return False, f"a refresh needs an interval above {least} and this one begins lower{hint}"
    if relative.low > 0:
        return True, "another configuration, better beyond its interval"
    return False, "another configuration, or older data, needs an interval above 0 and this one begins lower"


def relative_difference(challenger: Floats, champion: Floats, *, attempts: int, seed: int) -> Interval:
    """Return ``mean(challenger) / mean(champion) - 1`` with its widened paired interval.

    Args:
        challenger: metric by user, ``[Q]``.
        champion: the same users.
        attempts: at least 1.
        seed: of the draws.

    Raises:
        DataError: the champion finds nothing in some draw of users, so there is nothing to be relative to.
    """
    drawn = resampled_means(np.stack([challenger, champion], axis=1), resamples=RESAMPLES, seed=seed)  # [R, 2]
    if drawn[:, 1].min() <= 0:
        raise DataError(
            f"expected a champion that finds something in every draw of users, found a mean NDCG@20 of "
            f"{champion.mean():.4f} over {len(champion)} users; take a longer window"
        )
    tail = (1 - _LEVEL) / 2
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1] - 1, [tail, 1 - tail])
    mean = challenger.mean() / champion.mean() - 1
    stretch = NormalDist().inv_cdf(1 - tail / attempts) / NormalDist().inv_cdf(1 - tail)
    return Interval(
        mean=float(mean), low=float(mean + (low - mean) * stretch), high=float(mean + (high - mean) * stretch)
    )


def _score(
    store: Path, challenger: Part, champion: Part, *, features: Path | None, refresh: bool, seed: int
) -> Figures:
    feature_set = FeatureSet.load(features or _features_of(store, challenger))
    split, config = window_split(feature_set, store, challenger)
    window = Window.of(feature_set, split)
    roles = {CHALLENGER: challenger, CHAMPION: champion}
    scored = {role: scorable_part(store, part, window, role=role) for role, part in roles.items()}
    ledger = AttemptLedger(root=store)
    for part in roles.values():
        ledger.record(window, part)
    tried = ledger.configurations(window)
    attempts = 1 if refresh else len(tried - {configuration_digest(champion)} | {configuration_digest(challenger)})
    task = _task(tasks_of(split.test), exclude_seen=config.exclude_seen)
    values = {role: _values(part, feature_set, task, name=role) for role, (_, part) in scored.items()}
    return Figures(
        window=window,
        task=task.name,
        num_users=task.num_users,
        champion=float(values[CHAMPION].mean()),
        challenger=float(values[CHALLENGER].mean()),
        scored={role: artifact for role, (artifact, _) in scored.items()},
        relative=relative_difference(values[CHALLENGER], values[CHAMPION], attempts=attempts, seed=seed),
        attempts=attempts,
        num_configurations=len(tried),
    )


def window_split(feature_set: FeatureSet, store: Path, part: Part) -> tuple[Any, RetrievalConfig]:
    """Return the split by a part's windows, users who are to be forgotten left out, and the settings it follows from."""
    config = part_config(part)
    sequences, _ = remembered(feature_set, ReleaseStore(root=store).erasures.load())
    return split_for(sequences, config, last_us=int(feature_set.sequences.ts.max(initial=0))), config


def part_config(part: Part) -> RetrievalConfig:
    """Return the settings of a part's training that decide what it is asked.

    Raises:
        ReleaseError: its manifest does not hold them.
    """
    try:
        config = part.about["config"]
        split = {**config["split"], "target_event_types": tuple(config["split"]["target_event_types"])}
        return RetrievalConfig(split=SplitConfig(**split), exclude_seen=config["exclude_seen"])
    except (KeyError, TypeError) as error:
        raise ReleaseError(
            f"{part.directory}: expected the settings of its training in the manifest, found none ({error}); train again."
        ) from None


def _features_of(store: Path, part: Part) -> Path:
    """Return the features that a part's run was trained on, if they still stand there."""
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


def _task(tasks: Sequence[Task], *, exclude_seen: bool) -> Task:
    """Take the question that the step was chosen by: what is new to the customer, or everything."""
    if not tasks:
        raise DataError("expected customers with an answer in the window, found none; take a longer window")
    wanted = "new" if exclude_seen else "all"
    return next((task for task in tasks if task.name == wanted), tasks[-1])


def _values(part: Part, feature_set: FeatureSet, task: Task, *, name: str) -> Floats:
    recommender = PartRecommender.open(part, feature_set.vocabulary, name=name)
    lists = recommender.recommend(task.query, k=_K, exclude_seen=task.exclude_seen)
    return user_metrics(lists, task.relevant, ks=(_K,))[METRIC]
