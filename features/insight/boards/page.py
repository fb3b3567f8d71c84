"""A board as a page, written once, or again and again while it is looked at."""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features.build import CUSTOMERS_FILE, FeatureSet, build_features
from features.engine import private_connection
from features.errors import ConfigError, FootfallError
from features.insight.boards.board import Board
from features.insight.boards.figures import Figures
from features.insight.boards.sections import BoardSections
from features.insight.inputs import Inputs
from features.insight.sql.tables import ReadOnlyTables
from features.report.sectioned import SectionedPage, provenance_of, warning_of
from features.report.sections import NothingToShow, Section
from features.report.words import Language, Words
from features.settings import EngineSettings

logger = logging.getLogger(__name__)
_WORDS = [Path(__file__).parent, Path(__file__).parents[1] / "funnels"]


@dataclass(frozen=True, kw_only=True)
class BoardPage:
    """Where a board's figures come from, and how they are said.

    Args:
        board: its YAML file, or ``ready``.
        language: of the page.
        data: the data directory of the features, for coupons, spend and the like.
        tables: directory for the figures as Parquet and CSV.
        engine: where tables are computed.
    """

    board: str = "ready"
    language: Language = "en"
    data: Path | None = None
    tables: Path | None = None
    engine: EngineSettings = EngineSettings()


def write_board(features: Path, out: Path, page: BoardPage = BoardPage()) -> dict[str, Any]:
    """Write a board of a feature directory.

    Args:
        features: what ``footfall features`` wrote.
        out: the HTML file.
        page: which board, in which language.

    Returns:
        board (its title), first_day, last_day, widgets, missing (what has nothing to show), tables (names of files).

    Raises:
        ConfigError: the board is not as it should be, or is cut by what the tables do not have.
        DataError: ``features`` is no feature directory, or its log lacks the board's days.
    """
    board, opened, words = Board.read(page.board), FeatureSet.load(Path(features)), Words.load(page.language, *_WORDS)
    log, beside = opened.event_log, Path(out).parent
    period, compared = board.periods(log.first_day, log.last_day)
    with (
        private_connection(page.engine, beside=beside) as connection,
        ReadOnlyTables.open(opened.directory, data=page.data, engine=page.engine, beside=beside) as tables,
    ):
        inputs = Inputs.open(opened, connection, period=period, compared=compared, data=page.data)
        figures = Figures.of(inputs, opened.directory / CUSTOMERS_FILE)
        board.check(figures.dimensions, where=page.board)
        made = BoardSections(figures=figures, tables=tables, words=words)
        sections, missing = _made(board, made)
    days = words.days(period.first_day, period.last_day)
    sectioned = SectionedPage(
        over=words("boards.over", shop=opened.shop.name, days=days),
        title=board.title,
        lead=words("boards.lead", days=days, written=f"{dt.datetime.now(opened.shop.zone):%Y-%m-%d %H:%M}"),
        sections=sections,
        provenance=provenance_of(opened, words),
        warning=warning_of(opened, words),
        missing=missing,
    )
    sectioned.write(Path(out), words)
    names = [] if page.tables is None else sectioned.write_tables(page.tables)
    logger.info("board %s: %d widgets of %s to %s", board.title, len(sections), days, out)
    return {
        "board": board.title,
        "first_day": period.first_day.isoformat(),
        "last_day": period.last_day.isoformat(),
        "widgets": len(sections),
        "missing": missing,
        "tables": names,
    }


def _made(board: Board, made: BoardSections) -> tuple[list[Section], list[str]]:
    """Return the widgets' sections, and why some have nothing to show."""
    sections, missing = [], []
    for place, widget in enumerate(board.widgets, start=1):
        try:
            sections.append(made.of(widget, f"{widget.kind}{place}"))
        except NothingToShow as reason:
            missing.append(str(reason))
    return sections, missing


def keep_board(
    features: Path,
    out: Path,
    page: BoardPage,
    *,
    every_minutes: float,
    until: dt.datetime | None = None,
    now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """Write a board again and again, such as while a campaign runs; a round that fails leaves the page as it was.

    Where ``page.data`` is given the features are brought up to date first, which reads only days that changed.

    Args:
        features: feature directory.
        out: the HTML file.
        page: which board.
        every_minutes: from the beginning of a round to that of the next.
        until: when to stop; until it is interrupted where left out.
        now: the clock.
        sleep: waits, in seconds.

    Returns:
        rounds, failed, and what the last round that held returned.

    Raises:
        ConfigError: the first round failed: the board itself is wrong, and trying again would not help.
    """
    if every_minutes <= 0:
        raise ConfigError(f"every: expected minutes above 0, found {every_minutes:g}.")
    last: dict[str, Any] = {}
    rounds = failed = 0
    while True:
        begun = now()
        try:
            if page.data is not None:
                build_features(page.data, features, engine=page.engine)
            last = write_board(features, out, page)
        except FootfallError as error:
            if not last:
                raise
            failed += 1
            logger.warning("board: this round is left out: %s", error)
        rounds += 1
        following = begun + dt.timedelta(minutes=every_minutes)
        if until is not None and following > until:
            return {"rounds": rounds, "failed": failed, **last}
        sleep(max(0.0, (following - now()).total_seconds()))
