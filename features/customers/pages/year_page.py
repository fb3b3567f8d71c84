"""A customer's year in review: a page for that customer, made only while they consent to it."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd

from features import columns as c
from features.build import IDENTITY_DIRECTORY, ITEMS_FILE, FeatureSet
from features.customers.pages.year import Favourite, Year
from features.customers.table import CustomerTable
from features.engine import private_connection, sql_text
from features.errors import ConfigError, ConsentMissing, DataError, UnknownId
from features.identity.build import MAP_FILE
from features.identity.map import IdentityMap
from features.privacy.lookup import consents_of_features
from features.report.charts import bars
from features.report.page import write_page
from features.report.sections import capital
from features.report.words import Language, Money, Words
from features.settings import EngineSettings
from features.tables.prices import PERIOD, list_prices

_TEMPLATE: Final = Path(__file__).with_name("year.html")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class YearPage:
    """What the page shows, and to whom.

    Args:
        language: of the page.
        year: calendar year; 0 for the twelve months up to the log's last day.
        name: how the customer is addressed; not at all where blank.
        consents: data directory with a newer ``consents.parquet`` than the features; theirs count where left out.
        engine: where tables are computed.
    """

    language: Language = "en"
    year: int = 0
    name: str = ""
    consents: Path | None = None
    engine: EngineSettings = EngineSettings()

    def __post_init__(self) -> None:
        if self.year and not dt.MINYEAR < self.year < dt.MAXYEAR:
            raise ConfigError(f"year: expected a calendar year such as 2024, or 0, found {self.year}.")


def write_year_page(
    features: Path, customer: str, out: Path, page: YearPage = YearPage(), *, now: dt.datetime | None = None
) -> dict[str, Any]:
    """Write the page of a customer's year.

    The page is made for one person, so consent to personalisation must hold at this moment, and only rows that may
    serve personalisation are read. Loyalty points rest on the table of analytics and are left out without consent to
    that.

    Args:
        features: what ``footfall features`` wrote.
        customer: an id of the customer.
        out: the HTML file.
        page: span, language, name.
        now: the moment of making, with its zone; the clock's where left out.

    Returns:
        first_day, last_day, orders, purposes (that the page rests on).

    Raises:
        ConsentMissing: the customer does not consent now.
        UnknownId: nothing is known of the customer.
        DataError: ``features`` is no feature directory, or the customer bought nothing in the span.
    """
    opened = FeatureSet.load(Path(features))
    now = now or dt.datetime.now(dt.UTC)
    user_id = _who(opened, customer)
    book = consents_of_features(opened.directory, shop=opened.shop, newer=page.consents, engine=page.engine)
    now_us = int(now.timestamp() * 1_000_000)
    if not book.allows(user_id, c.PERSONALISATION, now_us):
        raise ConsentMissing(
            "year: expected the customer's consent to personalisation at this moment, found none; "
            "a year in review is made only for customers who agree to it."
        )
    if user_id not in opened.users:
        raise UnknownId("year: expected an id with item events that may serve personalisation, found none of this one.")
    first_day, last_day = _span(opened, page)
    rows = _rows(opened, user_id, last_day, page.engine, beside=Path(out).parent)
    found = Year.of(
        rows, first_day=first_day, last_day=last_day, min_discount_percent=opened.shop.profile.min_discount_percent
    )
    if not found.orders:
        raise DataError(
            f"year: expected a purchase from {first_day} to {last_day} that may serve personalisation, found none; "
            "choose another year."
        )
    words = Words.load(page.language, Path(__file__).parent)
    points = _points(opened, user_id) if book.allows(user_id, c.ANALYTICS, now_us) else None
    purposes = [c.PERSONALISATION, *([c.ANALYTICS] if points else [])]
    context = _context(opened, found, page, words=words, points=points, now=now)
    write_page(Path(out), _TEMPLATE, **context, language=page.language, w=words)
    logger.info("year: a page of %d orders from %s to %s to %s", found.orders, first_day, last_day, out)
    span = {"first_day": first_day.isoformat(), "last_day": last_day.isoformat()}
    return {**span, "orders": found.orders, "purposes": purposes}


def _who(features: FeatureSet, customer: str) -> str:
    path = features.directory / IDENTITY_DIRECTORY / MAP_FILE
    return IdentityMap.load(path).resolve([customer])[0] if path.is_file() else customer


def _span(features: FeatureSet, page: YearPage) -> tuple[dt.date, dt.date]:
    """Return the first and last day; a year that is not over ends with the log."""
    log = features.event_log
    if not page.year:
        return (pd.Timestamp(log.last_day) - pd.DateOffset(years=1) + pd.DateOffset(days=1)).date(), log.last_day
    first, last = dt.date(page.year, 1, 1), dt.date(page.year, 12, 31)
    if first > log.last_day or last < log.first_day:
        raise DataError(f"year: expected one from {log.first_day.year} to {log.last_day.year}, found {page.year}.")
    return first, min(last, log.last_day)


def _rows(
    features: FeatureSet, user_id: str, last_day: dt.date, engine: EngineSettings, *, beside: Path
) -> pd.DataFrame:
    """Return the customer's rows up to a day, with items' attributes and list prices, oldest first."""
    log, profile = features.event_log, features.shop.profile
    with private_connection(engine, beside=beside) as connection:
        every = log.relation(connection, purpose=c.PERSONALISATION).filter(f"{c.LOCAL_DAY} <= DATE '{last_day}'")
        own = every.filter(f"{c.USER_ID} = {sql_text(user_id)}")
        period = f"(DATE '{last_day}' - {c.LOCAL_DAY}) // {profile.list_price_days}"
        own.select(f"*, {period} AS {PERIOD}").create("own")
        bought = connection.sql(f"SELECT DISTINCT item_id FROM own WHERE event_type = '{c.PURCHASE}'").set_alias("k")
        connection.read_parquet(str(features.directory / ITEMS_FILE)).create_view("shelf")
        usual = list_prices(
            every.set_alias("e").join(bought, c.ITEM_ID, how="semi"),
            as_of=last_day,
            days=profile.list_price_days,
            percent=profile.list_price_percent,
        )
        usual.create("usual")
        return connection.sql(f"""
            SELECT o.event_type, o.local_day, o.local_hour, o.order_id, o.item_id, o.quantity, o.price, o.coupon_id,
                   i.title, i.category, i.brand, p.list_price
            FROM own o LEFT JOIN shelf i USING (item_id) LEFT JOIN usual p USING (item_id, {PERIOD})
            WHERE NOT starts_with(o.event_type, 'message') AND o.event_type <> '{c.IMPRESSION}'
            ORDER BY o.ts, o.event_id""").df()


def _points(features: FeatureSet, user_id: str) -> int | None:
    """Return the balance of loyalty points; nothing where the shop keeps none."""
    table = CustomerTable.load(features.customers)
    found = table.lookup(user_id).get("loyalty_points") if user_id in table else None
    return None if found is None else int(found)


def _context(
    features: FeatureSet, found: Year, page: YearPage, *, words: Words, points: int | None, now: dt.datetime
) -> dict[str, Any]:
    money = Money.of(features.shop)
    span = str(page.year) if page.year else words.days(found.first_day, found.last_day)
    key = "year.title" if page.year else "year.title_months"
    synthetic = features.about["data"].get("source") == "synthetic"
    return {
        "title": words(key, shop=features.shop.name, year=str(page.year)),
        "over": words("year.over", shop=features.shop.name, span=span),
        "lead": words("year.lead_named", name=page.name) if page.name else words("year.lead"),
        "warning": words("source.simulated") if synthetic else "",
        "cards": _cards(found, money, words, points),
        "favourites": _favourites(found, words),
        "months": _months(found, words),
        "moments": _moments(found, words),
        "due": [words("year.due_line", title=due.title, count=due.every_days, last=words.day(due.last_day)) for due in found.due],
        "consent": words("year.consent", day=words.day(now.date())) + (words("year.consent_points") if points is not None else ""),
        "span": words("year.span", span=words.days(found.first_day, found.last_day)),
    }  # fmt: skip


def _cards(found: Year, money: Money, words: Words, points: int | None) -> list[tuple[str, str]]:
    cards = [
        (f"{found.orders:,}", words("year.orders", count=found.orders)),
        (f"{found.units:,}", words("year.units", count=found.units)),
        (money(found.spend), words("year.spend")),
    ]
    if found.saved:
        cards.append((money(found.saved), words("year.saved", count=found.units_saved_on)))
    if found.coupons:
        cards.append((f"{found.coupons:,}", words("year.coupons", count=found.coupons)))
    if points is not None:
        cards.append((f"{points:,}", words("year.points")))
    return cards


def _favourites(found: Year, words: Words) -> list[tuple[str, list[str]]]:
    def lines(names: Sequence[Favourite], key: str) -> list[str]:
        return [
            words(f"year.{key}", name=capital(one.name), count=one.orders if key == "times" else one.units)
            for one in names
        ]

    lists = [
        ("items", found.items, "times"),
        ("categories", found.categories, "pieces"),
        ("brands", found.brands, "pieces"),
    ]
    return [(words(f"year.{name}"), lines(names, key)) for name, names, key in lists if names]


def _months(found: Year, words: Words) -> dict[str, Any]:
    names = [words.month(month.month) for month in found.months]
    orders = list(found.months.values())
    top = max(found.months, key=lambda month: found.months[month])  # of equals the earliest
    busiest = words("year.busiest", month=words.month_of(top), count=found.months[top])
    svg = bars(names, orders, [str(number) if number else "" for number in orders],
               title=words("year.months_figure"), description=busiest)  # fmt: skip
    return {"finding": busiest, "svg": svg, "caption": words("year.months_figure")}


def _moments(found: Year, words: Words) -> list[str]:
    said = []
    if found.first is not None and found.last is not None:
        said.append(words("year.first", day=words.day(found.first[0]), items=words.listing(list(found.first[1]))))
        if found.orders > 1:
            said.append(words("year.last", day=words.day(found.last[0]), items=words.listing(list(found.last[1]))))
    if found.busiest_hour is not None:
        said.append(words("year.hour", hour=words.hour(found.busiest_hour)))
    if found.weeks_in_a_row > 1:
        said.append(words("year.weeks", count=found.weeks_in_a_row))
    said.append(words("year.days_seen", count=found.days_seen))
    return said
