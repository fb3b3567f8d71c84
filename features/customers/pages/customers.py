"""The page of customers: who they are, who became what, what they are worth, what was unusual."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import duckdb
import pandas as pd

from features import columns as c
from features.build import ITEMS_FILE, FeatureSet
from features.customers.anomalies import AnomalySettings
from features.customers.as_of import customers_as_of
from features.customers.moves import NONE, step_counts, steps_between
from features.customers.pages import group_sections as groups
from features.customers.pages import log_counts, segments
from features.customers.pages.unusual_section import Unusual, find_unusual, unusual_section
from features.customers.pages.value_sections import missing_for_value, tags_section, value_section
from features.customers.table import CustomerTable
from features.engine import private_connection
from features.privacy.pseudonyms import Pseudonyms
from features.report.sectioned import SectionedPage, provenance_of, warning_of
from features.report.sections import Section, capital
from features.report.words import Language, Money, Words
from features.settings import EngineSettings

# Ways to cut the customers, the first that the table has is the one that moves and likes are shown for.
_CUTS: Final = ("growth_stage", "lifecycle", "rfm_segment", "value_tier")
_HOURS_TO_MIDNIGHT: Final = 3  # a log that ends earlier has not seen its last day whole

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class CustomersPage:
    """What the page may say, and how.

    Args:
        language: of the page.
        days: moves are between so many days before the last one and the last one.
        show_ids: whether lists show customers and devices under their own ids.
        pseudonyms: names that lists use otherwise; ones for this page alone where left out.
        tags: what ``footfall tags validate`` wrote, where it was run.
        places: region, latitude, longitude, where the shop knows them.
        anomalies: what counts as unusual.
        engine: where tables are computed.
    """

    language: Language = "en"
    days: int = 28
    show_ids: bool = False
    pseudonyms: Pseudonyms | None = None
    tags: Mapping[str, Any] | None = None
    places: pd.DataFrame | None = None
    anomalies: AnomalySettings = field(default_factory=AnomalySettings)
    engine: EngineSettings = EngineSettings()


def write_customers_page(features: Path, out: Path, page: CustomersPage = CustomersPage()) -> dict[str, Any]:
    """Write the page of a feature directory.

    Args:
        features: what ``footfall features`` wrote.
        out: the HTML file.
        page: language, names, and what counts as unusual.

    Returns:
        customers, buyers, as_of, sections, unusual (lines), missing (what the page leaves out and why).

    Raises:
        DataError: ``features`` is no feature directory.
    """
    made = _Page.open(Path(features), page)
    with private_connection(page.engine, beside=Path(out).parent) as connection:
        sectioned, num_unusual = made.sectioned(connection)
    sectioned.write(Path(out), made.words)
    logger.info("customers page: %d sections of %d customers to %s", len(sectioned.sections), len(made.table), out)
    return {
        "customers": len(made.table),
        "buyers": made.num_buyers,
        "as_of": made.table.as_of.isoformat(),
        "sections": [section.name for section in sectioned.sections],
        "unusual": num_unusual,
        "missing": made.missing,
    }


@dataclass(frozen=True, kw_only=True, eq=False)
class _Page:
    features: FeatureSet
    table: CustomerTable
    page: CustomersPage
    words: Words
    missing: list[str]

    @classmethod
    def open(cls, features: Path, page: CustomersPage) -> _Page:
        opened = FeatureSet.load(features)
        table = CustomerTable.load(opened.customers)
        return cls(
            features=opened, table=table, page=page, words=Words.load(page.language, Path(__file__).parent), missing=[]
        )

    @property
    def minimum(self) -> int:
        return self.features.shop.privacy.minimum_group

    @property
    def money(self) -> Money:
        return Money.of(self.features.shop)

    @property
    def num_buyers(self) -> int:
        return int((self.table.frame["frequency"] > 0).sum())

    @property
    def cuts(self) -> list[str]:
        return [name for name in _CUTS if name in self.table.frame]

    def sectioned(self, connection: duckdb.DuckDBPyConnection) -> tuple[SectionedPage, int]:
        """Return the page, and how many unusual things it lists."""
        rows = self.features.event_log.relation(connection, purpose=c.ANALYTICS)
        unusual = self._unusual(rows)
        sections = list(self._sections(connection, rows, unusual))
        day = self.words.day(self.table.as_of)
        page = SectionedPage(
            over=self.words("page.over", shop=self.features.shop.name, day=day),
            title=self._title(self._back(rows)),
            lead=self.words(
                "page.lead", customers=len(self.table), buyers=self.num_buyers, minimum=self.minimum, day=day
            ),
            sections=sections,
            provenance=provenance_of(self.features, self.words),
            definitions=self._definitions(),
            warning=warning_of(self.features, self.words),
            missing=self.missing,
        )
        return page, unusual.count

    def _sections(
        self, connection: duckdb.DuckDBPyConnection, rows: duckdb.DuckDBPyRelation, unusual: Unusual
    ) -> Sequence[Section]:
        frame, column, minimum, words = self.table.frame, self.cuts[0], self.minimum, self.words
        items = connection.read_parquet(str(self.features.directory / ITEMS_FILE))
        of_customers = connection.from_df(frame[[c.USER_ID, column]].rename(columns={column: "segment"}).dropna())
        bought = log_counts.bought_categories(rows, items, of_customers)
        found = [
            groups.sizes_section(frame, self.cuts, minimum=minimum, money=self.money, words=words),
            self._moves(column),
        ]
        if self.num_buyers:
            found.append(groups.rfm_section(frame, minimum=minimum, money=self.money, words=words))
        if lacking := missing_for_value(frame):
            self.missing.append(
                words("page.missing_value", columns=words.listing([words(f"words.{name}") for name in lacking]))
            )
        else:
            found.append(value_section(frame, minimum=minimum, money=self.money, words=words))
        if len(bought):
            found.append(groups.likes_section(bought, column, minimum=minimum, words=words))
        found.append(groups.hours_section(log_counts.hours_of_week(rows), minimum=minimum, words=words))
        if self.page.tags is None:
            self.missing.append(words("page.missing_tags"))
        else:
            found.append(tags_section(self.page.tags, minimum=minimum, words=words))
        found.append(unusual_section(unusual, named=self._named(), names_note=self._names_note(), words=words))
        return [section for section in found if section is not None]

    def _moves(self, column: str) -> Section | None:
        log, page = self.features.event_log, self.page
        before = self.table.as_of - dt.timedelta(days=page.days)
        if before < log.first_day:
            self.missing.append(self.words("page.missing_moves", days=page.days))
            return None
        earlier = customers_as_of(self.features.directory, before, columns=[column], engine=page.engine)
        taken = steps_between(earlier, self.table, column=column)
        moves = step_counts(taken[taken["now"] != NONE])
        return groups.moves_section(
            moves, column, before=before, after=self.table.as_of, minimum=self.minimum, words=self.words
        )

    def _unusual(self, rows: duckdb.DuckDBPyRelation) -> Unusual:
        log, settings = self.features.event_log, self.page.anomalies
        ends = log.last_at.astimezone(self.features.shop.zone)
        whole = ends.hour >= 24 - _HOURS_TO_MIDNIGHT
        last_day = log.last_day if whole else max(log.last_day - dt.timedelta(days=1), log.first_day)
        needed = 2 * settings.history_days
        if (last_day - log.first_day).days < needed:
            self.missing.append(self.words("page.missing_rates", days=needed))
        return find_unusual(
            rows, first_day=log.first_day, last_day=last_day, settings=settings, places=self.page.places
        )

    def _named(self) -> Any:
        if self.page.show_ids:
            return str
        return (self.page.pseudonyms or Pseudonyms.one_time(scope="customers page", digits=8)).of

    def _names_note(self) -> str:
        if self.page.show_ids:
            return self.words("unusual.names_shown")
        if self.page.pseudonyms is None:
            return self.words("unusual.names")
        return self.words("unusual.names_kept", key=f"k{self.page.pseudonyms.number}")

    def _back(self, rows: duckdb.DuckDBPyRelation) -> pd.Series | None:
        by_month = log_counts.buyers_by_month(rows)
        return segments.come_back(
            by_month, last_day=pd.Timestamp(self.features.event_log.last_day), minimum=self.minimum
        )

    def _title(self, back: pd.Series | None) -> str:
        if back is None:
            return self.words("page.plain_title", customers=len(self.table), buyers=self.num_buyers)
        share = 1 - back["returned"] / back["buyers"]
        month = self.words.month_of(back["month"].date())
        return self.words("page.back_title", share=capital(self.words.fraction(share)), month=month)

    def _definitions(self) -> list[tuple[str, str]]:
        clocks = self.table.lifecycle
        values: dict[str, Any] = {
            "new": clocks.new_days, "active": clocks.active_days, "cooling": clocks.cooling_purchase_days,
            "seen": clocks.cooling_interaction_days, "churned": clocks.churned_purchase_days,
            "dormant": clocks.dormant_interaction_days, "minimum": self.minimum,
        }  # fmt: skip
        names = ["customer", *self.cuts, "score", *(n for n in segments.VALUE_COLUMNS if n in self.table.frame)]
        return [
            (self.words(f"words.{n}"), self.words(f"words.{n}_text", **values)) for n in (*names, "small", "chance")
        ]
