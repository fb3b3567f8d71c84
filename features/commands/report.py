"""``footfall report``: pages for people, each one self-contained HTML file."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any, Literal

from features.commands.parsing import Command, also_from, run_subcommand
from features.errors import ConfigError
from features.settings import EngineSettings


def customers(
    data: Path,
    out: Path,
    *,
    language: Literal["en", "zh"] = "en",
    days: int = 28,
    tags: Path | None = None,
    regions: Path | None = None,
    show_ids: bool = False,
    keys: Path | None = None,
    engine: EngineSettings = EngineSettings(),
) -> dict[str, Any]:
    """Write the page of customers: groups and moves, the RFM map, value and risk, tags, hours, likes, what was unusual.

    Args:
        data: feature directory that `footfall features` wrote. A release's store will not do: it has no event log.
        out: HTML file to write.
        language: en or zh.
        days: moves are shown between so many days before the last day and the last day.
        tags: JSON file that `footfall tags validate` wrote; without one the page has no tags.
        regions: CSV file of region, latitude, longitude, so that jumps between regions are told by speed.
        show_ids: show customers and devices under their own ids; pseudonyms otherwise.
        keys: key file for pseudonyms that lead back (`footfall data key`); made up for this page without one.
        engine: where tables are computed.
    """
    from features.customers.pages.customers import CustomersPage, write_customers_page
    from features.customers.pages.inputs import read_places, read_validation
    from features.privacy.pseudonyms import KeyRing

    page = CustomersPage(
        language=language,
        days=days,
        tags=None if tags is None else read_validation(tags),
        places=None if regions is None else read_places(regions),
        show_ids=show_ids,
        pseudonyms=None if keys is None else KeyRing.load(keys).pseudonyms("customers page"),
        engine=engine,
    )
    return write_customers_page(data, out, page)


def year(
    customer: str,
    out: Path,
    *,
    data: Path | None = None,
    year: int = 0,
    language: Literal["en", "zh"] = "en",
    name: str = "",
    consents: Path | None = None,
    engine: EngineSettings = EngineSettings(),
) -> dict[str, Any]:
    """Write a customer's year in review, for that customer; refused unless they consent to personalisation now.

    Args:
        customer: an id of the customer.
        out: HTML file to write.
        data: feature directory that `footfall features` wrote.
        year: calendar year; the twelve months up to the last day of the log where left out.
        language: en or zh.
        name: how the page addresses the customer; by no name where left out.
        consents: data directory whose consents are newer than those of the features.
        engine: where tables are computed.
    """
    from features.customers.pages.year_page import YearPage, write_year_page

    if data is None:
        raise ConfigError("expected --data FEATURES, the directory that `footfall features` wrote, found none.")
    page = YearPage(language=language, year=year, name=name, consents=consents, engine=engine)
    return write_year_page(data, customer, out, page)


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
    """Write the page of behaviour: funnels, paths, retention, hours and heat, slots, bestsellers, baskets.

    Args:
        features: directory that `footfall features` wrote.
        out: HTML file to write.
        language: en or zh.
        since: first local day (also --from), such as 2026-03-01; the log's first where left out.
        until: last local day (also --to); the log's last where left out.
        compare: hold the days just before, as many, beside them.
        definitions: YAML file of the shop's own funnels and the like: subject, then what it shows.
        subjects: some of funnels, paths, retention, heat, slots, bestsellers, baskets; all where left out.
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
    return keep_board(features, out, page, every_minutes=every, until=_ends(until, features))


def _ends(until: str, features: Path) -> dt.datetime | None:
    if not until:
        return None
    try:
        at = dt.datetime.fromisoformat(until)
    except ValueError:
        raise ConfigError(f"--until: expected a day or time such as 2026-12-24T18:00, found {until!r}.") from None
    from features.settings import ShopSettings

    return at if at.tzinfo else at.replace(tzinfo=ShopSettings.load(features).zone)


def run(argv: list[str]) -> dict[str, Any] | None:
    """Run ``footfall report``."""
    subcommands: dict[str, Command] = {
        "customers": customers,
        "year": year,
        "behaviour": behaviour,
        "campaigns": campaigns,
        "board": board,
    }
    return run_subcommand(
        subcommands, also_from(argv) if argv[:1] in (["behaviour"], ["campaigns"]) else argv, prog="footfall report"
    )
