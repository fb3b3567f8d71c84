"""The section about tracking: what is wrong with the events, worst first."""

from __future__ import annotations

import pandas as pd

from features.insight.health.check import check_health
from features.insight.health.findings import SEVERITIES, Finding, HealthReport
from features.insight.health.settings import HealthSettings
from features.insight.inputs import Inputs
from features.report.charts import bars
from features.report.page import percent
from features.report.sections import Definition, Drawn, Listed, NothingToShow, Section, whole
from features.report.words import Words


def sections(inputs: Inputs, words: Words) -> list[Section]:
    """Return what is wrong with the events of the data directory, before the log drops repeated ones.

    Raises:
        NothingToShow: the page knows no data directory.
        ConfigError: the shop's limits do not fit.
    """
    if inputs.data is None:
        raise NothingToShow(words("health.no_data"))
    settings = HealthSettings.parse(inputs.definitions.get("health"), where="health")
    report = check_health(inputs.data, settings=settings, scratch=inputs.scratch, engine=inputs.engine)
    return [health_section(report, settings, words)]


def health_section(report: HealthReport, settings: HealthSettings, words: Words) -> Section:
    """Return a report of the check as a section; sentences of findings are in English, as the command has them."""
    counts = report.counts
    bad = counts["error"] + counts["warning"]
    key = "healthy" if report.is_healthy else "unhealthy"
    told = {"errors": counts["error"], "warnings": counts["warning"], "events": int(report.about["events"])}
    drawn = [_drawn(report, words)] if bad else []
    return Section(
        name="health",
        title=words(f"health.title_{key}", count=bad),
        text=words("health.text", **told, first=report.about["first_at"][:10], last=report.about["last_at"][:10]),
        finding=words(f"health.finding_{key}", **told),
        drawn=drawn,
        listed=[_findings(report, words), _details(report, words), _coverage(report, words)],
        notes=[] if report.about["time_to_table"] == "known" else [words("health.arrival_unknown")],
        defined=[
            Definition(name=words(f"health.{name}"), text=words(f"health.{name}_text")) for name in SEVERITIES
        ] + [Definition(name=words("health.drop"), text=words("health.drop_text", share=percent(settings.drop_share, 0),
                        weeks=settings.weeks))],
        tables={
            "findings": pd.DataFrame(
                [{"severity": one.severity, "check": one.check, "subject": one.subject, "count": one.count, "of": one.of,
                  "expected": one.expected, "found": one.found, "do": one.do} for one in report.findings]
            ),
            "coverage": pd.DataFrame(report.tables["coverage"]),
            "empty": pd.DataFrame(report.tables["empty"]),
        },
    )  # fmt: skip


def _drawn(report: HealthReport, words: Words) -> Drawn:
    bad = [one for one in report.findings if one.severity != "notice"]
    names = [_name(one.check, one.subject, words) for one in bad]
    svg = bars(names, [one.count / max(one.of, 1) for one in bad], [percent(one.count / max(one.of, 1), 2) for one in bad],
               title=words("health.figure"), description=words("health.figure"))  # fmt: skip
    return Drawn(svg=svg, caption=words("health.figure"))


def _findings(report: HealthReport, words: Words) -> Listed:
    """Return what is wrong and what to do about it: two columns, which a phone has room for."""
    rows = [[_told(one, words), one.do] for one in report.findings]
    heads = [words(f"health.{name}") for name in ("check", "do")]
    return Listed(caption=words("health.findings"), columns=heads, rows=rows, open=True)


def _details(report: HealthReport, words: Words) -> Listed:
    rows = [[_told(one, words), f"{whole(one.count)} / {whole(one.of)}", one.expected, one.found]
            for one in report.findings]  # fmt: skip
    heads = [words(f"health.{name}") for name in ("check", "count", "expected", "found")]
    return Listed(caption=words("health.details"), columns=heads, rows=rows)


def _told(one: Finding, words: Words) -> str:
    return f"{words(f'health.{one.severity}')} · {_name(one.check, one.subject, words)}"


def _coverage(report: HealthReport, words: Words) -> Listed:
    rows = [
        [words.term("event", row["event_type"]), row["channel"], whole(row["events"]), whole(row["days"]), row["first_day"],
         row["last_day"]]
        for row in report.tables["coverage"]
    ]  # fmt: skip
    heads = [words(f"health.{name}") for name in ("event_type", "channel", "events", "days", "first_day", "last_day")]
    return Listed(caption=words("health.coverage"), columns=heads, rows=rows)


def _name(check: str, subject: str, words: Words) -> str:
    name = words(f"health.checks.{check.replace('.', '_')}")
    return f"{name}: {subject}" if subject else name
