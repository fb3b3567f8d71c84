"""The tables, notes and definitions of a test's section."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pandas as pd

from features.insight.experiments.analysis import ExperimentAnalysis
from features.insight.experiments.written import Writer
from features.privacy.small_groups import Suppressed, suppress_small_groups
from features.report.charts import lines
from features.report.page import percent
from features.report.sections import Definition, Drawn, Listed, hidden_note, records, whole
from features.report.words import Words

_HIDDEN: Final = (
    *(
        "num_users",
        "num_control",
        "mean",
        "mean_control",
        "difference",
        "se",
        "low",
        "high",
        "lift",
        "lift_low",
        "lift_high",
    ),
    *("p", "q", "p_holm", "correlation"),
)


def listed_tables(analysis: ExperimentAnalysis, writer: Writer, *, minimum: int) -> list[Listed]:
    """Return the tables to read, the lifts shown at once."""
    words, control = writer.words, writer.arm(analysis.participants.arms[0])
    primary = analysis.lifts["primary"]
    tables = [
        Listed(
            caption=words("experiments.listed.lifts", control=control),
            columns=_columns(words, "metric", "arm", "users", "lift", "difference", "p", "q", "holm"),
            rows=[_lift_row(row, writer) for row in records(analysis.lifts[primary])],
            open=True,
        )
    ]
    if not primary.all():
        tables.append(
            Listed(
                caption=words("experiments.listed.plain"),
                columns=_columns(words, "metric", "arm", "users", "lift", "difference", "p", "q", "holm"),
                rows=[_lift_row(row, writer) for row in records(analysis.lifts[~primary])],
            )
        )
    tables += [_means(analysis, writer), _balance(analysis, writer)]
    tables += _looks(analysis, writer) + _exposure(analysis, writer)
    tables += [
        Listed(
            caption=words("experiments.listed.segments", column=writer.by(column)),
            columns=_columns(words, "segment", "metric", "arm", "users", "lift", "difference", "p", "q", "holm"),
            rows=[(row.segment, *_lift_row(row, writer)) for row in records(_suppressed(table, minimum).frame)],
        )
        for column, table in analysis.segments.items()
    ]
    return [*tables, _plan(analysis, writer)]


def drawn_looks(analysis: ExperimentAnalysis, writer: Writer) -> list[Drawn]:
    """Return the looks at the first metric of the first arm as a figure, where there are two or more."""
    if analysis.looks is None or len(analysis.looks) == 0:
        return []
    first = analysis.looks.iloc[0]
    table = analysis.looks[(analysis.looks["metric"] == first["metric"]) & (analysis.looks["arm"] == first["arm"])]
    if len(table) < 2:
        return []
    words, name, last = writer.words, writer.words("experiments.figure.difference"), records(table)[-1]
    values = (writer.amount(last.metric, value) for value in (last.difference, last.low, last.high))
    said = dict(zip(("difference", "low", "high"), values, strict=True))
    svg = lines(
        [f"{users:,}" for users in table["num_users"]],
        {name: table["difference"]},
        title=words("experiments.figure.looks", name=analysis.participants.definition.name),
        description=words("experiments.figure.looks_text", count=len(table), **said),
        bands={name: (table["low"], table["high"])},
    )
    return [Drawn(svg=svg, caption=words("experiments.caption.looks", metric=writer.name(last.metric)))]


def notes_of(analysis: ExperimentAnalysis, writer: Writer, *, minimum: int) -> list[str]:
    """Return what a reader must know, most serious first."""
    words, sizes = writer.words, analysis.balance
    values: dict[str, dict[str, Any]] = {
        "sample_ratio": {"p": writer.chance(sizes.p)},
        "crossed": {"count": analysis.participants.num_crossed, "share": percent(sizes.share_crossed)},
    }
    raised = dict.fromkeys(alarm.name for alarm in analysis.alarms)
    notes = [words(f"experiments.alarm.{name}", **values.get(name, {})) for name in raised]
    first = analysis.participants.definition.metrics[0].name
    for column, table in analysis.heterogeneity.items():
        row = records(table[table["metric"] == first].sort_values("p"))[0]
        if not pd.isna(row.p):
            key = "differ" if row.p < 1 - analysis.participants.definition.level else "alike"
            notes.append(
                words(f"experiments.{key}", column=writer.by(column), metric=writer.name(first), p=writer.chance(row.p))
            )
    caps = analysis.means.dropna(subset=["capped_at"]).drop_duplicates("metric")
    notes += [
        words("experiments.capped", metric=writer.name(row.metric), cap=writer.amount(row.metric, row.capped_at))
        for row in records(caps)
    ]
    for table in analysis.segments.values():
        notes += hidden_note(words, _suppressed(table, minimum), minimum)
    return notes


def definitions_of(analysis: ExperimentAnalysis, words: Words) -> list[Definition]:
    """Return how the figures are counted."""
    definition = analysis.participants.definition
    names = ["lift", "many", "ratio"]
    if any(metric.covariate_days for metric in definition.metrics):
        names.insert(1, "past")
    values: Mapping[str, Any] = {}
    if definition.looks is not None:
        names.append("looks")
        values = {"number": definition.looks.number, "error": f"{100 * definition.looks.alpha:g}%"}
    return [
        Definition(
            name=words(f"experiments.defined.{name}"),
            text=words(f"experiments.defined.{name}_text", **values),
            source=words(f"experiments.defined.{name}_source"),
        )
        for name in names
    ]


def shown_tables(analysis: ExperimentAnalysis, *, minimum: int) -> dict[str, pd.DataFrame]:
    """Return all tables for files, small groups hidden."""
    hidden = {f"segments_{column}": _suppressed(table, minimum).frame for column, table in analysis.segments.items()}
    return {**analysis.tables, **hidden}


def _suppressed(table: pd.DataFrame, minimum: int) -> Suppressed:
    counted = table.assign(smaller=table[["num_users", "num_control"]].min(axis=1))
    measures = [name for name in _HIDDEN if name in table]
    found = suppress_small_groups(
        counted, counts="smaller", minimum=minimum, measures=measures, within=("metric", "arm")
    )
    groups = found.frame.loc[found.hidden, "segment"].nunique()  # one group is one row a metric and arm
    small = counted.loc[(counted["smaller"] > 0) & (counted["smaller"] < minimum), "segment"].nunique()
    return Suppressed(
        frame=found.frame.drop(columns="smaller"), hidden=found.hidden, num_small=int(small),
        num_complementary=max(int(groups - small), 0), note=found.note,
    )  # fmt: skip


def _lift_row(row: Any, writer: Writer) -> tuple[str, ...]:
    return (
        *(writer.name(row.metric), writer.arm(row.arm), whole(row.num_users), writer.lift_range(row)),
        writer.amount_range(row.metric, row.difference, row.low, row.high),
        *(writer.chance(row.p), writer.chance(row.q), writer.chance(row.p_holm)),
    )


def _means(analysis: ExperimentAnalysis, writer: Writer) -> Listed:
    return Listed(
        caption=writer.words("experiments.listed.means"),
        columns=_columns(writer.words, "metric", "arm", "users", "open", "mean"),
        rows=[
            (
                writer.name(row.metric),
                writer.arm(row.arm),
                whole(row.num_users),
                whole(row.num_open),
                writer.amount_range(row.metric, row.mean, row.low, row.high),
            )
            for row in records(analysis.means)
        ],
    )


def _balance(analysis: ExperimentAnalysis, writer: Writer) -> Listed:
    return Listed(
        caption=writer.words("experiments.listed.balance"),
        columns=_columns(writer.words, "arm", "users", "share", "expected"),
        rows=[
            (writer.arm(row.arm), whole(row.num_users), percent(row.share, 2), percent(row.expected_share, 2))
            for row in records(analysis.balance.table)
        ],
    )


def _looks(analysis: ExperimentAnalysis, writer: Writer) -> list[Listed]:
    if analysis.looks is None or analysis.looks.empty:
        return []
    words = writer.words
    rows = [
        (
            writer.name(row.metric),
            writer.arm(row.arm),
            str(row.look),
            whole(row.num_users),
            writer.lift_range(row),
            words("experiments.told") if row.stops else words("experiments.not_yet"),
        )
        for row in records(analysis.looks)
    ]
    columns = _columns(words, "metric", "arm", "look", "users", "lift", "stops")
    return [Listed(caption=words("experiments.listed.looks"), columns=columns, rows=rows)]


def _exposure(analysis: ExperimentAnalysis, writer: Writer) -> list[Listed]:
    if analysis.exposure is None:
        return []
    rows = [
        (
            writer.name(row.metric),
            writer.arm(row.arm),
            writer.share_range(row.share_exposed, row.share_low, row.share_high),
            writer.amount_range(row.metric, row.on_exposed, row.on_exposed_low, row.on_exposed_high),
        )
        for row in records(analysis.exposure)
    ]
    columns = _columns(writer.words, "metric", "arm", "exposed", "on_exposed")
    return [Listed(caption=writer.words("experiments.listed.exposure"), columns=columns, rows=rows)]


def _plan(analysis: ExperimentAnalysis, writer: Writer) -> Listed:
    return Listed(
        caption=writer.words("experiments.listed.plan"),
        columns=_columns(writer.words, "metric", "wanted", "needed", "least"),
        rows=[
            (writer.name(row.metric), percent(row.lift, 0), whole(row.users_needed), percent(row.least_lift))
            for row in records(analysis.plan)
        ],
    )


def _columns(words: Words, *names: str) -> list[str]:
    return [words(f"experiments.column.{name}") for name in names]
