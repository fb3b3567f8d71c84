"""What came of a rule's verdict: the decision, where it is kept, and what is said about it."""

from __future__ import annotations

import datetime as dt
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from features.files import write_json
from features.release import Part, PartKind
from features.release.part import version_name
from training.promotion_rule import Verdict

DECISIONS_DIRECTORY: Final = "decisions"
_TAG: Final = "footfall.promotion."
_PERIOD_DAYS: Final = {"D": 1, "W": 7}

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What came of a verdict.

    Args:
        kind: of the part.
        outcome: ``promoted``, ``refused``, ``forced`` against the verdict, or ``unchanged``.
        verdict: what the rule said.
        overridden: the reason that ``--force`` went over, empty where it went over none.
    """

    kind: PartKind
    outcome: Literal["promoted", "refused", "forced", "unchanged"]
    verdict: Verdict
    overridden: str = ""

    @classmethod
    def on(cls, kind: PartKind, verdict: Verdict, *, force: bool) -> Decision:
        """Decide: the rule holds unless it is forced."""
        if verdict.earned:
            return cls(kind=kind, outcome="unchanged" if verdict.rule == "unchanged" else "promoted", verdict=verdict)
        if force:
            return cls(kind=kind, outcome="forced", verdict=verdict, overridden=verdict.reason)
        return cls(kind=kind, outcome="refused", verdict=verdict)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {"kind": self.kind, "outcome": self.outcome, "overridden": self.overridden} | self.verdict.to_dict()

    @property
    def tags(self) -> dict[str, str]:
        """Return what the run and the registered versions are tagged with; nothing where nothing was decided."""
        return {f"{_TAG}{name}": value for name, value in self._tags().items() if value}

    @property
    def release_tags(self) -> dict[str, str]:
        """Return what the registered release is tagged with: a decision about demand stands beside that on retrieval."""
        prefix = _TAG if self.kind == "retrieval" else f"{_TAG}{self.kind}."
        return {f"{prefix}{name}": value for name, value in self._tags().items() if value}

    def _tags(self) -> dict[str, str]:
        if self.outcome == "unchanged":
            return {}
        tags = {"decision": self.outcome, "rule": self.verdict.rule, "reason": self.verdict.reason}
        tags |= {"champion": self.verdict.champion, "overridden": self.overridden}
        if figures := self.verdict.figures:
            low, high = figures.relative.low, figures.relative.high
            name = f"relative_{figures.metric.replace('@', '_at_')}"
            tags[name] = f"{figures.relative.mean:.4f} [{low:.4f}, {high:.4f}]"
            tags |= {"window": figures.window.label, "attempts": str(figures.num_configurations)}
        return tags

    def save(self, store: Path, release_id: str | None) -> Path:
        """Write the decision into the store and return its file; ``release_id`` names the release that it made."""
        now = dt.datetime.now(dt.UTC)
        path = Path(store) / DECISIONS_DIRECTORY / f"{version_name(now)}.json"
        if self.outcome != "unchanged":
            write_json(path, {"at": now.isoformat(), "release_id": release_id} | self.to_dict())
        return path


def decision_warnings(decision: Decision, part: Part, champion: Part | None) -> list[str]:
    """Return, and log, what someone should know beside the decision about a part.

    Args:
        decision: about ``part``.
        part: the challenger.
        champion: of its kind.
    """
    texts = []
    if decision.outcome == "refused" and champion is not None:
        texts.append(f"{refusal(decision)}{_forecast_end(champion)}")
    if part.about.get("trained_on") == "fit":
        texts.append(
            f"retrieval {part.version} was not learned again from all data (refit: false): it knows nothing of the "
            "validation and test windows at the end of its log"
        )
    if (
        decision.verdict.rule == "better"
        and champion is not None
        and champion.data_fingerprint != part.data_fingerprint
    ):
        texts.append(
            f"{part.kind}: configuration and data both differ from the champion's, and so the difference is of both; "
            "to tell them apart, train the champion's configuration on the same features"
        )
    for text in texts:
        log.warning("%s", text)
    return texts


def refusal(decision: Decision) -> str:
    """Return what is said where a challenger is kept back."""
    verdict = decision.verdict
    return f"{decision.kind} {verdict.challenger} is not promoted: {verdict.reason}. {verdict.champion} is served as before"


def _forecast_end(part: Part) -> str:
    """Forecasts run out, whatever they were worth: say when."""
    try:
        ahead = int(part.about["horizon"]) * _PERIOD_DAYS[part.about["frequency"]]
        last = dt.date.fromisoformat(part.about["as_of"]) + dt.timedelta(days=ahead)
    except (KeyError, TypeError, ValueError):
        return ""
    return f", and its forecasts end on {last}; the champion's configuration trained on newer features renews them"
