"""``footfall report`` of what happened and what worked: behaviour, campaigns, one test, boards."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any, Literal

from features.errors import ConfigError
from features.settings import EngineSettings


def behaviour(
    features: Path,
    out: Path,
    *,
    language: Literal["en", "zh"] = "en",
    since: str = "",
    until: str = "",
    compare: bool = False,
    definitions: Path | None = None,
    subjects: tuple[str, ...] = (),
    data: Path | None = None,
    tables: Path | None = None,
    engine: EngineSettings = EngineSettings(),
) -> dict[str, Any]:
    """Write the page of behaviour: funnels, paths, retention, hours and heat, slots, bestsellers, baskets, tracking.

    Args:
        features: directory that `footfall features` wrote.
        out: HTML file to write.
        language: en or zh.
        since: first local day (also --from), such as 2026-03-01; the log's first where left out.
        until: last local day (also --to); the log's last where left out.
        compare: hold the days just before, as many, beside them.
        definitions: YAML file of the shop's own funnels and the like: subject, then what it shows.
        subjects: some of funnels, paths, retention, heat, slots, bestsellers, baskets, health; all where left out.
        data: data directory of the features, for exposures and the like.
        tables: directory for all tables as Parquet and CSV files.
        engine: where tables are computed.
    """
    page = {"definitions": definitions, "subjects": subjects, "data": data, "tables": tables}
    return _insight("behaviour", features, out, language, (since, until), compare=compare, engine=engine, **page)


def campaigns(
    features: Path,
    out: Path,
    *,
    language: Literal["en", "zh"] = "en",
    since: str = "",
    until: str = "",
    compare: bool = False,
    definitions: Path | None = None,
    subjects: tuple[str, ...] = (),
    data: Path | None = None,
    tables: Path | None = None,
    engine: EngineSettings = EngineSettings(),
) -> dict[str, Any]:
    """Write the page of campaigns: messages, coupons, attribution, tests, uplift.

    Args:
        features: directory that `footfall features` wrote.
        out: HTML file to write.
        language: en or zh.
        since: first local day (also --from), such as 2026-03-01; the log's first where left out.
        until: last local day (also --to); the log's last where left out.
        compare: hold the days just before, as many, beside them.
        definitions: YAML file of the shop's own campaigns, tests and the like: subject, then what it shows.
        subjects: some of campaigns, attribution, experiments, uplift; all where left out.
        data: data directory of the features, for coupons, spend, exposures and the like.
        tables: directory for all tables as Parquet and CSV files.
        engine: where tables are computed.
    """
    page = {"definitions": definitions, "subjects": subjects, "data": data, "tables": tables}
    return _insight("campaigns", features, out, language, (since, until), compare=compare, engine=engine, **page)


def _insight(kind: Any, features: Path, out: Path, language: Any, days: tuple[str, str], **more: Any) -> dict[str, Any]:
    from features.insight.pages.page import InsightPage, write_insight_page

    first_day, last_day = (_day(name, text) for name, text in zip(("--since", "--until"), days, strict=True))
    page = InsightPage(language=language, first_day=first_day, last_day=last_day, **more)
    return write_insight_page(kind, features, out, page)


def _day(name: str, text: str) -> dt.date | None:
    try:
        return dt.date.fromisoformat(text) if text else None
    except ValueError:
        raise ConfigError(f"{name}: expected a day such as 2026-03-01, found {text!r}.") from None


def experiment(
    features: Path,
    name: str,
    out: Path,
    *,
    data: Path | None = None,
    exposures: Path | None = None,
    tag: str = "",
    assigned_at: str = "",
    definitions: Path | None = None,
    window_days: float = 7.0,
    covariate_days: float = 28.0,
    language: Literal["en", "zh"] = "en",
    since: str = "",
    until: str = "",
    tables: Path | None = None,
    engine: EngineSettings = EngineSettings(),
) -> dict[str, Any]:
    """Write the page of one randomised test: lifts with intervals, whether arms are balanced, segments, what a next one needs.

    Args:
        features: directory that `footfall features` wrote.
        name: of the experiment, as exposures say it; `holdout` for all experiments against those who took part in none.
        out: HTML file to write.
        data: data directory of the features, for exposures and users.
        exposures: a table of exposures, or the service's log STORE/exposures; the data directory's where left out.
        tag: column of the users table that holds the arms, for a test that no exposures know.
        assigned_at: local time from which on the arms of a tag differ; the campaign's first message where left out.
        definitions: YAML file whose `experiments` define the test: metrics, looks, segments.
        window_days: days after the assignment in which outcomes count.
        covariate_days: days before it that are taken off.
        language: en or zh.
        since: first local day that is read (also --from).
        until: last local day that is read (also --to).
        tables: directory for all tables as Parquet and CSV files.
        engine: where tables are computed.
    """
    from features.insight.experiments.report import ExperimentReport, report_experiment

    report = ExperimentReport(
        definitions=definitions,
        tag=tag,
        assigned_at=_instant("--assigned_at", assigned_at, features),
        window_days=window_days,
        covariate_days=covariate_days,
        exposures=exposures,
        data=data,
        first_day=_day("--since", since),
        last_day=_day("--until", until),
        tables=tables,
        language=language,
        engine=engine,
    )
    return report_experiment(features, name, out, report)


def board(
    features: Path,
    out: Path,
    *,
    board: str = "ready",
    language: Literal["en", "zh"] = "en",
    data: Path | None = None,
    tables: Path | None = None,
    every: float | None = None,
    until: str = "",
    engine: EngineSettings = EngineSettings(),
) -> dict[str, Any]:
    """Write a board: the shop's figures of some days, beside those of others, once or again and again.

    Args:
        features: directory that `footfall features` wrote.
        out: HTML file to write.
        board: YAML file of the board, or `ready` for the one that is ready.
        language: en or zh.
        data: data directory of the features; with --every, features are brought up to date from it before each round.
        tables: directory for the figures as Parquet and CSV files.
        every: minutes from one round to the next; once where left out.
        until: local day or time of the last round, such as 2026-12-24T18:00; until Ctrl-C where left out.
        engine: where tables are computed.
    """
    from features.insight.boards.page import BoardPage, keep_board, write_board

    page = BoardPage(board=board, language=language, data=data, tables=tables, engine=engine)
    if every is None:
        if until:
            raise ConfigError(
                "--until: expected --every beside it, found none; a board that is written once ends at once."
            )
        return write_board(features, out, page)
    return keep_board(features, out, page, every_minutes=every, until=_instant("--until", until, features))


def _instant(name: str, text: str, features: Path) -> dt.datetime | None:
    """Return a time as the shop's clock shows it, unless it has an offset."""
    if not text:
        return None
    try:
        at = dt.datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{name}: expected a day or time such as 2026-12-24T18:00, found {text!r}.") from None
    from features.settings import ShopSettings

    return at if at.tzinfo else at.replace(tzinfo=ShopSettings.load(features).zone)
