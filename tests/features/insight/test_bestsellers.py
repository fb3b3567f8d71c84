"""What goes with buying a bestseller: by hand, against plain formulas, and on a world where one sign matters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy.stats import contingency

from features.insight.bestsellers.definition import BestsellerDefinition
from features.insight.bestsellers.ratios import sign_ratios
from features.insight.bestsellers.signs import visit_signs
from tests.features.engines import assert_equal_tables, canonical

KEYS = ["item_id", "sign", "section"]
# user, visit, event, item, section, price
ROWS = [
    ("a", "v1", "view", "i", None, 100),
    ("a", "v1", "view_section", None, "reviews", None),
    ("a", "v1", "view_section", "other", "reviews", None),
    ("a", "v2", "view", "i", None, 80),  # cheaper, and not for the first time
    ("a", "v2", "search", None, None, None),
    ("a", "v2", "purchase", "i", None, 80),
    ("b", "v3", "view", "i", None, 100),
    ("b", "v3", "view_section", "i", "reviews", None),
    ("b", "v3", "purchase", "i", None, 100),
    ("c", "v4", "view", "i", None, 100),
    ("c", "v4", "view_section", "other", "photos", None),  # of another item
    ("c", "v5", "purchase", "i", None, 100),  # bought without a look: no visit of ours
    ("c", "v5", "view", "rare", None, 5),
]


def events(rows: list[tuple[Any, ...]] = ROWS) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["user_id", "session_id", "event_type", "item_id", "section", "price"])
    at = pd.Timestamp("2026-03-02T10:00Z") + pd.to_timedelta(range(len(frame)), unit="min")
    return frame.assign(
        ts=pd.DatetimeIndex(at).as_unit("us"),
        event_id=[f"e{n:02}" for n in range(len(frame))],
        local_day=pd.Series(pd.to_datetime(["2026-03-02"] * len(frame))).astype("datetime64[us]"),
        order_id=pd.Series([None] * len(frame), dtype="str"),
        price=frame["price"].astype("Int64"),
    )


def canonical_signs(native: Any) -> pd.DataFrame:
    frame = canonical(native, KEYS)
    return frame.assign(**{name: frame[name].astype("str").fillna("") for name in ("item_id", "section")})


def test_signs_when_worked_by_hand_then_equal() -> None:
    found = canonical_signs(visit_signs(events(), BestsellerDefinition(top=1))).set_index(KEYS)
    counts = {key: [int(x) for x in row] for key, row in zip(found.index, found.to_numpy(), strict=True)}
    assert counts == {  # visits, buyers, with the sign, of these bought, customers
        ("i", "price_low", ""): [4, 2, 1, 1, 1],
        ("i", "searched", ""): [4, 2, 1, 1, 1],
        ("i", "section", "reviews"): [4, 2, 2, 1, 2],
        ("i", "seen_before", ""): [4, 2, 1, 1, 1],
        ("", "price_low", ""): [4, 2, 1, 1, 1],  # all items: there is but one
        ("", "searched", ""): [4, 2, 1, 1, 1],
        ("", "section", "reviews"): [4, 2, 2, 1, 2],
        ("", "seen_before", ""): [4, 2, 1, 1, 1],
    }


def test_together_when_customers_look_at_several_items_then_each_counts_once() -> None:
    rows = [  # each of 3 customers looks at i and j in a visit with a search, buys both, and again looks in one without
        (user, f"{user}{visit}", kind, item, None, 100)
        for user in "abc"
        for visit in (1, 2)
        for kind, item in [("view", "i"), ("view", "j"), *[("search", None)] * (visit == 1), ("purchase", "i"),
                           ("purchase", "j")]
    ]  # fmt: skip
    definition = BestsellerDefinition(min_visits=3)
    found = visit_signs(events(rows), definition)
    assert (
        found.loc[found["item_id"].isna() & (found["sign"] == "searched"), "visits"].item() == 12
    )  # of 6, of two items
    _, together = sign_ratios(found, definition)
    searched = together.set_index("sign").loc["searched"]
    assert searched[["customers", "items", "with_sign"]].tolist() == [3, 2, 6]


@pytest.mark.xdist_group("spark")
def test_signs_when_run_by_another_engine_then_equal_to_pandas(connection: Any, spark: Any) -> None:
    definition = BestsellerDefinition()
    expected = canonical_signs(visit_signs(events(), definition))
    for frame in (connection.from_df(events()), spark.createDataFrame(pa.Table.from_pandas(events()))):
        assert_equal_tables(canonical_signs(visit_signs(frame, definition)), expected)


def counts(seed: int, *, factor: float) -> pd.DataFrame:
    """Ten items whose rates differ much; a sign that makes buying ``factor`` times as likely, and one that does not.

    The sign is seen most where the item sells worst, so that all visits in one heap would mislead.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for item in range(10):
        rate, visits = 0.02 * (1 + item), 1_500
        for sign, ratio in (("real", factor), ("idle", 1.0)):
            seen = int(visits * (0.6 - 0.05 * item))
            bought = rng.binomial(seen, rate * ratio)
            rows.append((f"i{item}", "section", sign, visits, bought + rng.binomial(visits - seen, rate), seen, bought, seen))  # fmt: skip
    names = ["item_id", "sign", "section", "visits", "buyers", "with_sign", "bought_with_sign", "customers"]
    return pd.DataFrame(rows, columns=names)


def test_ratios_when_a_sign_matters_then_it_is_found_and_its_interval_holds_the_truth() -> None:
    held, idle = [], []
    for seed in range(40):
        _, together = sign_ratios(counts(seed, factor=1.6), BestsellerDefinition())
        found = together.set_index("section")
        assert found.loc["real", "is_listed"]
        held.append(found.loc["real", "low"] <= 1.6 <= found.loc["real", "high"])
        idle.append(found.loc["idle", "is_listed"])
    assert np.mean(held) >= 0.88
    assert np.mean(idle) <= 0.12


def test_ratio_when_one_item_is_looked_at_then_equal_to_the_textbook() -> None:
    rows = counts(3, factor=1.6)[:1]
    by_item, _ = sign_ratios(rows, BestsellerDefinition())
    a, n = rows[["bought_with_sign", "with_sign"]].iloc[0]
    buyers, visits = rows[["buyers", "visits"]].iloc[0]
    expected = contingency.relative_risk(int(a), int(n), int(buyers - a), int(visits - n))
    interval = expected.confidence_interval(0.95)
    assert by_item.iloc[0][["ratio", "low", "high"]].tolist() == pytest.approx(
        [expected.relative_risk, interval.low, interval.high]
    )


def test_ratios_when_visits_are_few_or_nobody_bought_then_nothing_is_said() -> None:
    rows = counts(0, factor=1.6)
    assert sign_ratios(rows, BestsellerDefinition(min_visits=10_000))[1].empty
    assert sign_ratios(rows.assign(buyers=0, bought_with_sign=0), BestsellerDefinition())[0].empty
