"""Each way a row can break the contract, and a slow reader of the same rules beside the SQL."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import columns as c
from features.contract.data_directory import write_data_directory
from features.contract.tables import TABLES
from features.errors import DataError
from features.settings import EngineSettings, ShopSettings

ENGINE = EngineSettings(memory_limit="512MB", threads=1)

GOOD: dict[str, dict[str, Any]] = {
    "events": {"user_id": "u", "event_type": "purchase", "ts": "2024-01-01T10:00:00Z", "item_id": "i", "quantity": 1},
    "items": {"item_id": "i", "price": 100, "active": True, "created_at": "2024-01-01"},
    "users": {"user_id": "u", "signup_at": "2024-01-01 00:00:00"},
    "identities": {"id_a": "a", "id_b": "b", "seen_at": "2024-01-01"},
    "consents": {"user_id": "u", "purpose": "analytics", "granted": False, "at": "2024-01-01"},
    "exposures": {"user_id": "u", "item_id": "i", "slot": "home", "ts": "2024-01-01", "propensity": 0.25},
    "inventory": {"item_id": "i", "day": "2024-01-01", "stock": 0},
    "plan": {"item_id": "i", "day": "2024-01-02", "announced_at": "2024-01-01", "price": 99, "display": 0.5},
    "regressors": {"name": "temperature", "day": "2024-01-02", "value": -3.5, "item_id": "i"},
    "coupons": {"coupon_id": "k", "user_id": "u", "issued_at": "2024-01-01", "value": 100},
    "spend": {"day": "2024-01-01", "channel": "search", "cost": 5},
}

BROKEN = [
    ("events", "user_id", "  ", "user_id: expected an id, found nothing"),
    ("events", "ts", "yesterday", "ts: expected an instant between 1900 and 2200"),
    ("events", "ts", "1511658000", "found '1511658000'"),
    ("events", "ts", "49873-01-01 00:00:00", "ts: expected an instant between 1900 and 2200"),
    ("events", "event_type", "purchse", "found 'purchse'. Did you mean 'purchase'?"),
    ("events", "item_id", None, "item_id: expected an item for event_type 'purchase', found nothing"),
    ("events", "quantity", 0, "quantity: expected at least 1 for event_type 'purchase', found '0'"),
    ("events", "quantity", "2.5", "quantity: expected a whole number >= 0, found '2.5'"),
    ("events", "price", -1, "price: expected a whole number of minor units >= 0, found '-1'"),
    ("items", "active", "perhaps", "active: expected true or false, found 'perhaps'"),
    ("users", "signup_at", "x", "signup_at: expected an instant"),
    ("identities", "id_b", None, "id_b: expected an id, found nothing"),
    ("consents", "purpose", "analytic", "found 'analytic'. Did you mean 'analytics'?"),
    ("consents", "granted", "2", "granted: expected true or false, found '2'"),
    ("exposures", "propensity", 1.5, "propensity: expected a number from 0 to 1, found '1.5'"),
    ("inventory", "day", "2024-01-01 10:00", "day: expected a day such as 2024-01-31, found '2024-01-01 10:00'"),
    ("inventory", "stock", None, "stock: expected a whole number >= 0, found nothing"),
    ("plan", "display", "inf", "display: expected a finite number, found 'inf'"),
    ("regressors", "value", "warm", "value: expected a finite number, found 'warm'"),
    ("coupons", "value", "1e", "value: expected a whole number of minor units >= 0, found '1e'"),
    ("spend", "cost", 1.5, "cost: expected a whole number of minor units >= 0, found '1.5'"),
]


def check(rows: dict[str, pd.DataFrame | duckdb.DuckDBPyRelation], out: Path) -> dict[str, Any]:
    return write_data_directory(out, rows, shop=ShopSettings(), source="test", engine=ENGINE)["tables"]


def check_one(name: str, rows: list[dict[str, Any]]) -> tuple[dict[str, Any], pd.DataFrame, pd.DataFrame]:
    """Return counts, accepted rows and rejects of one table."""
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "data"
        counts = check({name: pd.DataFrame(rows, dtype=object)}, out)[name]
        return counts, pd.read_parquet(out / f"{name}.parquet"), pd.read_parquet(out / "rejects" / f"{name}.parquet")


def test_check_when_rows_keep_the_contract_then_every_table_is_accepted_with_all_columns(tmp_path: Path) -> None:
    assert set(GOOD) == set(TABLES)
    counts = check({name: pd.DataFrame([row]) for name, row in GOOD.items()}, tmp_path / "data")
    for name, table in TABLES.items():
        assert counts[name] == {"accepted": 1, "rejected": 0, "duplicates": 0, "ignored": [], "reasons": {}}
        assert tuple(pd.read_parquet(tmp_path / "data" / f"{name}.parquet").columns) == table.column_names
        assert len(pd.read_parquet(tmp_path / "data" / "rejects" / f"{name}.parquet")) == 0


@pytest.mark.parametrize(("name", "column", "value", "reason"), BROKEN)
def test_check_when_one_value_is_broken_then_the_row_is_kept_aside_with_its_reason(
    name: str, column: str, value: object, reason: str
) -> None:
    counts, accepted, rejects = check_one(name, [GOOD[name], {**GOOD[name], column: value}])
    assert (counts["accepted"], counts["rejected"], counts["duplicates"]) == (1, 1, 0)
    assert counts["reasons"] == {column: 1}
    assert len(accepted) == 1
    assert rejects["row"].tolist() == [2]
    assert reason in rejects["reason"][0]
    assert rejects["reason"][0].startswith(f"{column}: expected")
    content = json.loads(rejects["content"][0])
    assert content[column] == (None if value is None else str(value))


def test_check_when_several_values_are_broken_then_the_reason_names_them_all() -> None:
    bad = {**GOOD["events"], "user_id": None, "price": "x", "quantity": 0}
    _, _, rejects = check_one("events", [GOOD["events"], bad])
    assert [part.split(":")[0] for part in rejects["reason"][0].split("; ")] == ["user_id", "price", "quantity"]


# What each spelling means; None where it means nothing the contract knows.
COUNTS = {"1": 1, " 3 ": 3, "2.0": 2, "1e3": 1000, "0": 0, "2.5": None, "-1": None, "x": None, "9" * 30: None}
INSTANTS = {
    "2024-03-31 01:30:00": "2024-03-31T01:30:00Z",
    "2024-03-31T01:30:00+02:00": "2024-03-30T23:30:00Z",
    "2024-03-31": "2024-03-31T00:00:00Z",
    "2024-03-31T01:30:00.123456Z": "2024-03-31T01:30:00.123456Z",
    "31.3.2024": None,
    "1711848600": None,
    "infinity": None,
}
IDS = {"a": "a", " b ": "b", "": None, "   ": None}
EVENTS = st.fixed_dictionaries(
    {
        "user_id": st.sampled_from([*IDS, None]),
        "event_type": st.sampled_from(["view", "purchase", "search", "login", "View", "", None]),
        "ts": st.sampled_from([*INSTANTS, None]),
        "item_id": st.sampled_from([*IDS, None]),
        "event_id": st.sampled_from(["e1", "e2", " e1", "", None]),
        "quantity": st.sampled_from([*COUNTS, "", None]),
        "price": st.sampled_from([*COUNTS, "", None]),
    }
)


def broken_columns(row: dict[str, str | None]) -> set[str]:
    """Say slowly, from the tables above, which columns of an event break the contract."""
    broken = {name for name in ("user_id", "ts") if not (row[name] or "").strip()}
    if row["ts"] and INSTANTS[row["ts"]] is None:
        broken.add("ts")
    if row["event_type"] not in c.EVENT_TYPES:
        broken.add("event_type")
    if row["event_type"] in c.ITEM_EVENT_TYPES and not (row["item_id"] or "").strip():
        broken.add("item_id")
    for name in ("quantity", "price"):
        if row[name] and COUNTS[row[name]] is None:
            broken.add(name)
    if row["event_type"] == "purchase" and row["quantity"] and COUNTS[row["quantity"]] == 0:
        broken.add("quantity")
    return broken


@settings(max_examples=12, deadline=None)
@given(rows=st.lists(EVENTS, min_size=1, max_size=60))
def test_check_when_rows_are_random_then_it_agrees_with_a_slow_reader(rows: list[dict[str, str | None]]) -> None:
    first_of: dict[str, int] = {}
    expected: dict[int, set[str] | str] = {}
    for number, row in enumerate(rows, start=1):
        event_id = (row["event_id"] or "").strip()
        if broken := broken_columns(row):
            expected[number] = broken
        elif event_id and event_id in first_of:
            expected[number] = f"duplicate of row {first_of[event_id]}"
        else:
            first_of.setdefault(event_id, number)
    if len(expected) == len(rows):
        with pytest.raises(DataError, match="expected rows that keep the contract"):
            check_one("events", rows)
        return
    counts, accepted, rejects = check_one("events", rows)
    found = {
        row: reason if reason.startswith("duplicate") else {part.split(":")[0] for part in reason.split("; ")}
        for row, reason in zip(rejects["row"], rejects["reason"], strict=True)
    }
    assert found == expected
    assert counts["accepted"] + counts["rejected"] + counts["duplicates"] == len(rows)
    kept = [row for number, row in enumerate(rows, start=1) if number not in expected]
    instants = [pd.Timestamp(INSTANTS[row["ts"] or ""]) for row in kept]
    assert accepted["ts"].tolist() == instants
    quantities = [COUNTS[row["quantity"]] if row["quantity"] else None for row in kept]
    assert accepted["quantity"].astype(object).where(accepted["quantity"].notna(), None).tolist() == quantities


def test_check_when_frame_is_typed_then_types_are_read_as_people_mean_them() -> None:
    frame = pd.DataFrame(
        {
            "user_id": [123.0, np.nan],  # ids with a gap
            "event_type": pd.Categorical(["login", "login"]),
            "ts": pd.to_datetime(["2024-01-01 10:00", "2024-01-01 10:00"]).tz_localize("Europe/Paris"),
            "price": [float("nan"), 3.0],
        }
    )
    before = frame.copy(deep=True)
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "data"
        counts = check({"events": frame}, out)["events"]
        accepted = pd.read_parquet(out / "events.parquet")
    pd.testing.assert_frame_equal(frame, before)
    assert counts["reasons"] == {"user_id": 1}
    assert accepted["user_id"].tolist() == ["123"]
    assert accepted["ts"].tolist() == [pd.Timestamp("2024-01-01 09:00", tz="UTC")]


def test_check_when_instants_are_bare_numbers_then_nobody_guesses_their_unit(tmp_path: Path) -> None:
    frame = pd.DataFrame({"user_id": ["u"], "event_type": ["login"], "ts": [1_511_658_000]})
    with pytest.raises(DataError, match=r"ts: expected an instant between 1900 and 2200.*found '1511658000'"):
        check({"events": frame}, tmp_path / "data")


def test_check_when_key_columns_are_missing_values_then_they_count_as_values_except_for_event_id() -> None:
    spend = [GOOD["spend"], GOOD["spend"], {**GOOD["spend"], "campaign_id": "c"}]
    counts, _, rejects = check_one("spend", spend)
    assert (counts["accepted"], counts["duplicates"]) == (2, 1)
    assert rejects["reason"].tolist() == ["duplicate of row 1"]
    counts, _, _ = check_one("events", [GOOD["events"], GOOD["events"]])
    assert (counts["accepted"], counts["duplicates"]) == (2, 0)


def test_check_when_a_rejected_row_comes_first_then_it_makes_nobody_a_duplicate() -> None:
    rows = [{**GOOD["events"], "event_id": "e", "user_id": None}, {**GOOD["events"], "event_id": "e"}]
    counts, accepted, _ = check_one("events", rows)
    assert (counts["accepted"], counts["rejected"], counts["duplicates"]) == (1, 1, 0)
    assert accepted["event_id"].tolist() == ["e"]


def test_check_when_required_column_is_missing_then_error_names_it_and_the_closest(tmp_path: Path) -> None:
    frame = pd.DataFrame({"userid": ["u"], "event_type": ["login"], "ts": ["2024-01-01"]})
    expected = "events: expected a column 'user_id', found userid, event_type, ts. Did you mean 'userid'?"
    with pytest.raises(DataError, match=expected):
        check({"events": frame}, tmp_path / "data")
    assert list(tmp_path.iterdir()) == []


def test_check_when_columns_are_unknown_then_tags_stay_and_others_are_named() -> None:
    counts, accepted, _ = check_one("users", [{"user_id": "u", "tag_income": "high", "shoe_size": 44}])
    assert counts["ignored"] == ["shoe_size"]
    assert list(accepted.columns) == [*TABLES["users"].column_names, "tag_income"]
    assert accepted["tag_income"].tolist() == ["high"]
