"""Randomised tests as sections of a page: one a test, its answer in the title."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import duckdb
import pandas as pd

from features import columns as c
from features.errors import DataError
from features.insight.experiments.analysis import ExperimentAnalysis, analyse_experiment
from features.insight.experiments.assignments import ASSIGNED_US, experiments_in
from features.insight.experiments.chart import forest
from features.insight.experiments.definition import HOLDOUT, READY_METRICS, ExperimentDefinition, with_windows
from features.insight.experiments.listing import definitions_of, drawn_looks, listed_tables, notes_of, shown_tables
from features.insight.experiments.sources import assigned, tagged_tests, with_tag
from features.insight.experiments.written import Writer
from features.insight.inputs import Inputs
from features.report.sections import Drawn, NothingToShow, Section, records
from features.report.words import Words
from features.rules.place import Place, mapping

SUBJECT: Final = "experiments"
_MOST: Final = 6
_READY_DAYS, _READY_PAST = 7.0, 28.0
_SEGMENTS: Final = ("membership", "device")
logger = logging.getLogger(__name__)


def sections(inputs: Inputs, words: Words) -> list[Section]:
    """Return a section a test: those that the shop defines, or all that exposures and tags of these days tell of.

    Args:
        inputs: ``definitions["experiments"]`` maps names to what ``ExperimentDefinition.parse`` reads; a test is read up to
            the end of the period.
        words: of the page.

    Raises:
        NothingToShow: there is no test, or none with enough customers whose window is over.
        ConfigError: a definition is not as it should be.
        DataError: a test that the shop defines cannot be read.
    """
    own = inputs.definitions.get(SUBJECT)
    if own is not None:
        values = mapping(own, Place(file=SUBJECT))
        asked = [ExperimentDefinition.parse(str(n), one, where=f"{SUBJECT}.{n}") for n, one in values.items()]
        return _those_shown([analysed(inputs, one) for one in asked], inputs, words)
    found, names, reason = [], _ready(inputs), ""
    for definition in names:
        try:
            found.append(analysed(inputs, definition))
        except DataError as error:
            reason = str(error)
            logger.info("experiments: %s left out: %s", definition.name, reason)
    found = [one for one in found if one.participants.counts.min() >= inputs.minimum]
    if not found:
        raise NothingToShow(words("experiments.empty", reason=reason) if reason else words("experiments.none"))
    found.sort(key=lambda one: -int(one.participants.frame[ASSIGNED_US].max()))
    shown = [experiment_section(one, inputs, words) for one in found[:_MOST]]
    return shown if len(found) <= _MOST else [*shown[:-1], _with_more(shown[-1], found[_MOST:], words)]


def _those_shown(found: Sequence[ExperimentAnalysis], inputs: Inputs, words: Words) -> list[Section]:
    """Return the sections of tests that are large enough to show; the last names those that are not."""
    shown: list[Section] = []
    reasons: list[str] = []
    for one in found:
        try:
            shown.append(experiment_section(one, inputs, words))
        except NothingToShow as error:
            reasons.append(str(error))
    if not shown:
        raise NothingToShow("; ".join(reasons) or words("experiments.none"))
    if reasons:
        note = words("experiments.left_out", reasons="; ".join(reasons))
        shown[-1] = replace(shown[-1], notes=[*shown[-1].notes, note])
    return shown


def analysed(
    inputs: Inputs, definition: ExperimentDefinition, *, exposures: duckdb.DuckDBPyRelation | None = None
) -> ExperimentAnalysis:
    """Return what a test says, read from the page's inputs up to the end of its period.

    Args:
        inputs: log, period, users.
        definition: of the test.
        exposures: by the ids that the log's rows arrived under; those of the data directory where left out.
    """
    users = inputs.table("users")
    shown = inputs.table("exposures") if exposures is None else inputs.of_customers(exposures, at=c.TS)
    definition = with_tag(definition, exposures=shown, users=users)
    dealt = assigned(definition, inputs.log, exposures=shown, users=users)
    end = dt.datetime.combine(inputs.period.last_day + dt.timedelta(days=1), dt.time(), inputs.shop.zone)
    until_us = min(int(end.timestamp() * 1_000_000), inputs.last_at_us + 1)
    segments = None if users is None else _segments(users)
    return analyse_experiment(inputs.log, dealt, definition, segments=segments, until_us=until_us)


def experiment_section(analysis: ExperimentAnalysis, inputs: Inputs, words: Words) -> Section:
    """Return one test as a section.

    Args:
        analysis: of the test.
        inputs: of the page.
        words: of the page.

    Raises:
        NothingToShow: an arm has fewer customers than a page shows together.
    """
    definition = analysis.participants.definition
    if analysis.participants.counts.min() < inputs.minimum:
        raise NothingToShow(words("experiments.small", name=definition.name, minimum=inputs.minimum))
    metrics = {metric.name: metric for metric in definition.metrics}
    writer = Writer(words=words, money=inputs.money, metrics=metrics)
    control, *arms = map(writer.arm, analysis.participants.arms)
    answer = _answer(analysis)
    past = max(metric.covariate_days for metric in definition.metrics)
    text = words("experiments.text", arms=words.listing([control, *arms]), control=control)
    if past:
        text += " " + words("experiments.text_past", days=f"{past:g}")
    finding = words(
        "experiments.finding", name=definition.name, metric=writer.name(answer.metric), arm=writer.arm(answer.arm), control=control,
        lift=writer.lift(answer.lift), low=writer.lift(answer.lift_low), high=writer.lift(answer.lift_high),
    )  # fmt: skip
    return Section(
        name=f"{SUBJECT}_{definition.name}",
        title=_title(analysis, answer, writer),
        text=text,
        finding="" if analysis.balance.sample_ratio_alarm else finding,
        drawn=[_drawn_lifts(analysis, writer), *drawn_looks(analysis, writer)],
        listed=listed_tables(analysis, writer, minimum=inputs.minimum),
        notes=notes_of(analysis, writer, minimum=inputs.minimum),
        defined=definitions_of(analysis, words),
        tables=shown_tables(analysis, minimum=inputs.minimum),
    )


def _answer(analysis: ExperimentAnalysis) -> Any:
    """The row that decides: of the first metric, at the last look where looks are planned, of the surest arm."""
    first = analysis.participants.definition.metrics[0].name
    table = analysis.lifts[analysis.lifts["primary"] & (analysis.lifts["metric"] == first)]
    best = records(table.sort_values(["p", "arm"], kind="stable"))[0]
    if analysis.looks is None:
        return best
    looks = analysis.looks[(analysis.looks["metric"] == first) & (analysis.looks["arm"] == best.arm)]
    return records(looks)[-1] if len(looks) else best._replace(low=float("nan"), high=float("nan"))


def _title(analysis: ExperimentAnalysis, answer: Any, writer: Writer) -> str:
    words, definition = writer.words, analysis.participants.definition
    if analysis.balance.sample_ratio_alarm:
        return words("experiments.title.unfair", name=definition.name)
    kind = "more" if answer.low > 0 else "less" if answer.high < 0 else "open"
    if kind != "open" and pd.isna(answer.lift):
        kind = "open"
    arm, control = writer.arm(answer.arm), writer.arm(analysis.participants.arms[0])
    values = {"name": definition.name, "arm": arm, "control": control, "metric": writer.name(answer.metric)}
    if kind == "open":
        return words("experiments.title.open", users=len(analysis.participants.frame), **values)
    return words(f"experiments.title.{kind}", lift=writer.size(answer.lift), **values)


def _drawn_lifts(analysis: ExperimentAnalysis, writer: Writer) -> Drawn:
    table = analysis.lifts[analysis.lifts["primary"] & analysis.lifts["lift_low"].notna()]
    name, control = analysis.participants.definition.name, writer.arm(analysis.participants.arms[0])
    level = f"{100 * analysis.participants.definition.level:g}%"
    table = table.assign(arm=table["arm"].map(writer.arm))
    texts = [
        writer.words(
            "experiments.figure.lifts_text", metric=writer.name(row.metric), lift=writer.lift(row.lift),
            low=writer.lift(row.lift_low), high=writer.lift(row.lift_high),
        )
        for row in records(table)
    ]  # fmt: skip
    svg = forest(
        table,
        [writer.name(metric) for metric in table["metric"]],
        arms=list(map(writer.arm, analysis.participants.arms[1:])),
        title=writer.words("experiments.figure.lifts", name=name),
        description="; ".join(texts),
    )
    return Drawn(svg=svg, caption=writer.words("experiments.caption.lifts", control=control, level=level))


def _ready(inputs: Inputs) -> list[ExperimentDefinition]:
    """Tests that the shop did not define: of the exposures, and tags with a control."""
    exposures, users = inputs.table("exposures"), inputs.table("users")
    names = [] if exposures is None else experiments_in(exposures)
    tests = [(name, "") for name in names] if set(names) - {HOLDOUT} else []
    tests += [] if users is None else [(tag.removeprefix("tag_"), tag) for tag in tagged_tests(users)]
    metrics = with_windows(READY_METRICS, window_days=_READY_DAYS, covariate_days=_READY_PAST)
    return [ExperimentDefinition(name=name, tag=tag, metrics=metrics) for name, tag in tests]


def _segments(users: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation | None:
    """What the shop knew of its customers, one row each; nothing where it tells none from another."""
    told = [name for name in _SEGMENTS if name in users.columns]
    told = [name for name in told if len(users.aggregate(f"count(DISTINCT {name}) AS n").filter("n > 1").fetchall())]
    if not told:
        return None
    return users.aggregate(", ".join([c.USER_ID, *(f"min({name}) AS {name}" for name in told)]))


def _with_more(section: Section, others: Sequence[ExperimentAnalysis], words: Words) -> Section:
    names = words.listing([one.participants.definition.name for one in others])
    return replace(section, notes=[*section.notes, words("experiments.more", names=names)])
