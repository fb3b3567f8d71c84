"""``footfall report``: pages for people, each one self-contained HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from features.commands.insight_reports import behaviour, board, campaigns, experiment
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


def run(argv: list[str]) -> dict[str, Any] | None:
    """Run ``footfall report``."""
    subcommands: dict[str, Command] = {
        "customers": customers,
        "year": year,
        "behaviour": behaviour,
        "campaigns": campaigns,
        "experiment": experiment,
        "board": board,
    }
    spoken = argv[:1] in (["behaviour"], ["campaigns"], ["experiment"])
    return run_subcommand(subcommands, also_from(argv) if spoken else argv, prog="footfall report")
