"""What a check found, worst first."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

Severity = Literal["error", "warning", "notice"]
# error: figures are wrong. warning: some may be. notice: something cannot be told, or was put right on the way.
SEVERITIES: Final[tuple[Severity, ...]] = get_args(Severity)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is not as it should be.

    Args:
        severity: how bad.
        check: what was looked at, such as ``duplicates.same_event_id``.
        subject: which event type, column or channel; empty where it is all of them.
        expected: in words.
        found: in words, with figures.
        do: what to do about it.
        count: rows, days or orders it is about.
        of: out of how many.
        examples: some cases, as they stand in the table.
    """

    severity: Severity
    check: str
    subject: str = ""
    expected: str
    found: str
    do: str
    count: int
    of: int
    examples: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, kw_only=True)
class HealthReport:
    """All that a check has to say.

    Args:
        about: what was checked: path, rows, customers, from when to when, and which checks could not be made.
        findings: worst first; of equals those about the larger share.
        tables: name -> rows: coverage, empty columns, times to the table.
    """

    about: Mapping[str, Any]
    findings: Sequence[Finding]
    tables: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, about: Mapping[str, Any], findings: Sequence[Finding], **tables: Sequence[Mapping[str, Any]]
    ) -> HealthReport:
        """Put the findings in order."""
        return cls(about=about, findings=sorted(findings, key=_order), tables=tables)

    @property
    def counts(self) -> dict[str, int]:
        """How many findings of each severity."""
        return {name: sum(one.severity == name for one in self.findings) for name in SEVERITIES}

    @property
    def is_healthy(self) -> bool:
        """Whether there is neither an error nor a warning."""
        return not self.counts["error"] and not self.counts["warning"]

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON has it."""
        findings = [dataclasses.asdict(one) for one in self.findings]
        return {
            "healthy": self.is_healthy,
            **self.counts,
            "about": dict(self.about),
            "findings": findings,
            "tables": self.tables,
        }


def share_words(count: int, of: int) -> str:
    """Return a count with its share.

    >>> share_words(30, 1200)
    '30 of 1,200 (2.5%)'
    """
    return (
        f"{count:,} of {of:,} ({count / of:.2%})"
        if 0 < count < 0.01 * of
        else f"{count:,} of {of:,} ({count / max(of, 1):.1%})"
    )


def _order(finding: Finding) -> tuple[int, float, str, str]:
    return (SEVERITIES.index(finding.severity), -finding.count / max(finding.of, 1), finding.check, finding.subject)
