"""One test of a feature directory: its page, its tables as files, and its figures as one JSON object."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import duckdb
import pandas as pd

from features.build import FeatureSet
from features.engine import private_connection
from features.errors import ConfigError, DataError, did_you_mean
from features.exposure_log import exposures_sql, is_exposure_log
from features.insight.experiments.analysis import ExperimentAnalysis
from features.insight.experiments.definition import READY_METRICS, ExperimentDefinition, with_windows
from features.insight.experiments.section import SUBJECT, analysed, experiment_section
from features.insight.inputs import Inputs, Period
from features.report.sectioned import SectionedPage, provenance_of, warning_of
from features.report.words import Language, Words
from features.rules.place import Place, mapping, read_yaml
from features.settings import EngineSettings

_HERE: Final = Path(__file__).parent
_PAGES: Final = _HERE.parent / "pages"
logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ExperimentReport:
    """What a report on one test is asked for.

    Args:
        definitions: YAML file whose ``experiments`` hold the test's definition; without one the ready metrics are used.
        tag: column of the users table that says the arms, where the definition does not; ``tag_c001`` for a test ``c001``
            that no exposures know.
        assigned_at: instant from which on a tag's arms differ, with its zone; the campaign's first message where left out.
        window_days, covariate_days: of the ready metrics.
        exposures: the contract's table, or the service's log (STORE/exposures); the data directory's where left out.
        data: the data directory of the features, for users and exposures.
        first_day, last_day: days that are read; all of the log where left out.
        tables: directory for all tables as Parquet and CSV.
        language: of the page.
        engine: where tables are computed.
    """

    definitions: Path | None = None
    tag: str = ""
    assigned_at: dt.datetime | None = None
    window_days: float = 7.0
    covariate_days: float = 28.0
    exposures: Path | None = None
    data: Path | None = None
    first_day: dt.date | None = None
    last_day: dt.date | None = None
    tables: Path | None = None
    language: Language = "en"
    engine: EngineSettings = EngineSettings()


def report_experiment(
    features: Path, experiment: str, out: Path | None = None, report: ExperimentReport = ExperimentReport()
) -> dict[str, Any]:
    """Analyse one randomised test and write its page.

    Args:
        features: what ``footfall features`` wrote.
        experiment: its name in the exposures or the definitions; ``holdout`` for all of them against none.
        out: the HTML file; nothing writes none.
        report: definitions, sources, days.

    Returns:
        experiment, arms (arm -> customers), several_arms (customers left out), sample_ratio_p, alarms (name -> sentence),
        lifts, looks (rows), tables (names of files).

    Raises:
        ConfigError: a definition is not as it should be.
        DataError: there is no such test, or nothing can be said of it, or of an arm so small that nothing may.
    """
    opened = FeatureSet.load(Path(features))
    definition = _definition(experiment, report)
    words = Words.load(report.language, _PAGES, _HERE)
    log = opened.event_log
    period = Period(first_day=report.first_day or log.first_day, last_day=report.last_day or log.last_day)
    beside = Path(out).parent if out is not None else Path(features)
    with private_connection(report.engine, beside=beside) as connection:
        inputs = Inputs.open(opened, connection, period=period, data=report.data)
        exposures = None if report.exposures is None else read_exposures(connection, report.exposures)
        analysis = analysed(inputs, definition, exposures=exposures)
        _check_sizes(analysis, inputs.minimum)
        page = SectionedPage(
            over=words("insight.over", shop=opened.shop.name, days=words.days(period.first_day, period.last_day)),
            title=experiment,
            lead=words("insight.lead", days=words.days(period.first_day, period.last_day), minimum=inputs.minimum),
            sections=[experiment_section(analysis, inputs, words)],
            provenance=provenance_of(opened, words),
            warning=warning_of(opened, words),
        )
    if out is not None:
        page.write(Path(out), words)
    names = [] if report.tables is None else page.write_tables(report.tables)
    return summary(analysis) | {"tables": names}


def _check_sizes(analysis: ExperimentAnalysis, minimum: int) -> None:
    least = int(analysis.participants.counts.min())
    if least < minimum:
        raise DataError(
            f"experiment {analysis.participants.definition.name!r}: expected at least {minimum} customers in each arm "
            f"(privacy.minimum_group), found {least}; figures about so few are not shown."
        )


def summary(analysis: ExperimentAnalysis) -> dict[str, Any]:
    """Return the figures that decide as values for JSON; what is not known is ``None``."""
    participants = analysis.participants
    counts = dict(zip(participants.arms, map(int, participants.counts), strict=True))
    return {
        "experiment": participants.definition.name,
        "control": participants.arms[0],
        "arms": counts,
        "several_arms": participants.num_crossed,
        "sample_ratio_p": analysis.balance.p,
        "alarms": {alarm.name: alarm.text for alarm in analysis.alarms},
        "lifts": _rows(analysis.lifts[analysis.lifts["primary"]].drop(columns="primary")),
        "looks": [] if analysis.looks is None else _rows(analysis.looks),
    }


def read_exposures(connection: duckdb.DuckDBPyConnection, path: Path) -> duckdb.DuckDBPyRelation:
    """Return exposures of the contract's table, or of the log that the service keeps.

    Raises:
        DataError: there are none.
    """
    if is_exposure_log(Path(path)):
        return connection.sql(exposures_sql(Path(path)))
    table = Path(path) / "exposures.parquet" if Path(path).is_dir() else Path(path)
    if not table.is_file():
        raise DataError(f"{table}: expected the contract's exposures or the service's log of them, found none.")
    return connection.read_parquet(str(table))


def _definition(experiment: str, report: ExperimentReport) -> ExperimentDefinition:
    defined = _defined(experiment, report.definitions)
    found = defined or ExperimentDefinition(
        name=experiment,
        metrics=with_windows(READY_METRICS, window_days=report.window_days, covariate_days=report.covariate_days),
    )
    if report.tag:
        found = replace(found, tag=report.tag)
    return found if report.assigned_at is None else replace(found, assigned_at=report.assigned_at)


def _defined(experiment: str, path: Path | None) -> ExperimentDefinition | None:
    if path is None:
        return None
    place = Place(file=str(path))
    listed: Mapping[str, Any] = mapping(mapping(read_yaml(path), place).get(SUBJECT) or {}, place.at(SUBJECT))
    if experiment not in listed:
        raise ConfigError(
            f"{path}: expected {experiment!r} under {SUBJECT}, found {', '.join(map(str, listed)) or 'none'}."
            f"{did_you_mean(experiment, map(str, listed))}"
        )
    return ExperimentDefinition.parse(experiment, listed[experiment], where=f"{path}: {SUBJECT}.{experiment}")


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {str(key): value for key, value in row.items()}
        for row in table.astype(object).where(table.notna(), None).to_dict("records")
    ]
