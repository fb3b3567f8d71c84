"""Which part is served: a challenger against the champion, on the same newest window.

    the champion's own part              unchanged    nothing to decide
    nothing is served yet                first        promoted
    its configuration, data as new       refresh      promoted if at most 2% worse, for certain
    anything else                        better       promoted if better, for certain

"For certain" is the interval of the relative difference (training.promotion_figures): in NDCG@20, from draws of customers
that both answer, for retrieval; in WQL, from draws of items that both forecast, for demand.
"""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from features.errors import DataError, ReleaseError
from features.release import Part, PartKind
from training.evaluation.bootstrap import Interval
from training.evaluation.window import configuration_digest
from training.promotion_demand import score_demand
from training.promotion_figures import Figures
from training.promotion_retrieval import score_retrieval

REFRESH_MARGIN: Final = 0.02  # of the champion's score

Rule = Literal["first", "unchanged", "refresh", "better"]

log = logging.getLogger(__name__)


class Scorer(Protocol):
    """Scores champion and challenger of one kind."""

    def __call__(
        self, store: Path, challenger: Part, champion: Part, *, features: Path | None, refresh: bool, seed: int
    ) -> Figures:
        """Return what both were worth on the newest window of ``features``."""


_SCORERS: Final[dict[PartKind, Scorer]] = {"retrieval": score_retrieval, "demand": score_demand}


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
    """Apply the rule to a retrieval or a demand part.

    Args:
        store: release store; the attempt on the window is noted in it.
        challenger: part that asks to be served.
        champion: part of its kind that is served now.
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
    score = _SCORERS[challenger.kind]
    try:
        figures = score(store, challenger, champion, features=features, refresh=refresh, seed=seed)
    except (ReleaseError, DataError) as error:
        return rule, False, f"the two cannot be compared: {str(error).rstrip('.')}", None
    log.info("%s against champion %s: %s", challenger.version, champion.version, figures.words)
    promoted, reason = decide(figures.relative, refresh=refresh, asked=figures.asked)
    return rule, promoted, f"{reason}; {figures.words}", figures


def is_refresh(challenger: Part, champion: Part) -> bool:
    """Whether only the data differ, and the challenger's are no older."""
    same = configuration_digest(challenger) == configuration_digest(champion)
    return same and _data_end(champion) <= _data_end(challenger)


def _data_end(part: Part) -> str:
    """Return where a part's data end, as text that sorts by time; blank where it does not say."""
    return str(part.about.get("as_of", "")) if part.kind == "demand" else f"{int(part.about.get('as_of_us', 0)):020d}"


def decide(relative: Interval, *, refresh: bool, asked: str = "customers") -> tuple[bool, str]:
    """Return what the rule says of how much better a challenger is, and why.

    >>> decide(Interval(mean=0.01, low=-0.015, high=0.03), refresh=True)[0]
    True
    >>> decide(Interval(mean=0.01, low=-0.015, high=0.03), refresh=False)[0]
    False
    """
    if refresh:
        least = f"-{REFRESH_MARGIN:.0%}"
        if relative.low > -REFRESH_MARGIN:
            return True, f"the same configuration on data as new, and the interval lies above {least}"
        hint = f" (too few {asked} to tell)" if relative.high > REFRESH_MARGIN else ""
        return False, f"a refresh needs an interval above {least} and this one begins lower{hint}"
    if relative.low > 0:
        return True, "another configuration, better beyond its interval"
    return False, "another configuration, or older data, needs an interval above 0 and this one begins lower"
