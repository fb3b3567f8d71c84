"""Tracking health: a healthy shop is called healthy, and each planted fault is found with its count."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.commands.check import check
from features.errors import ConfigError, DataError
from features.insight.health import Finding, HealthReport, HealthSettings, check_health, section
from features.insight.health.clocks import shifted_days
from features.insight.inputs import Inputs, Period
from features.report.words import Words
from features.settings import EngineSettings, ShopSettings
from tests.features.tiny_shop import event, utc, write_shop

FIRST = utc("2024-04-01 00:00")
NUM_DAYS, NUM_USERS = 42, 80
ENGINE = EngineSettings(memory_limit="500MB", threads=1)
Row = dict[str, Any]


def shop_rows() -> list[Row]:
    """Six weeks of 80 customers: a visit of two events a day each, most in the evening, a fifth of them purchases."""
    rng, rows = np.random.default_rng(2), []
    chance = np.concatenate([np.zeros(8), np.linspace(0.5, 8, 13) ** 2, [20, 5, 0]])
    for day in range(NUM_DAYS):
        hours = rng.choice(24, NUM_USERS, p=chance / chance.sum())
        for user in range(NUM_USERS):
            at = FIRST + dt.timedelta(days=day, hours=int(hours[user]), seconds=int(rng.integers(3000)))
            more: Row = {
                "session_id": f"s{day}-{user}",
                "device_id": f"d{user}",
                "channel": "web" if user % 2 else "app",
            }
            rows.append(event(f"u{user}", "view", at, f"i{user % 7}", **more))
            kind = "purchase" if user % 5 == day % 5 else "cart"
            if kind == "purchase":
                more |= {"price": 500, "quantity": 1, "order_id": f"o{day}-{user}"}
            rows.append(event(f"u{user}", kind, at + dt.timedelta(seconds=90), f"i{user % 7}", **more))
    rows.sort(key=lambda row: row["ts"])
    return [{"event_id": f"e{place}"} | row for place, row in enumerate(rows)]


def day_of(row: Row) -> int:
    return int((row["ts"] - FIRST).days)


def checked(rows: list[Row], directory: Path, **more: Any) -> HealthReport:
    return check_health(write_shop(directory, events=rows), engine=ENGINE, **more)


def found(report: HealthReport, name: str, subject: str = "") -> Finding:
    (one,) = [one for one in report.findings if one.check == name and one.subject == subject]
    return one


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return shop_rows()


def test_check_when_the_shop_is_healthy_then_says_only_what_it_cannot_tell(rows: list[Row], tmp_path: Path) -> None:
    report = checked(rows, tmp_path / "shop")
    assert report.is_healthy
    assert {one.check for one in report.findings} == {"arrival.unknown", "arrival.newest_event"}
    assert report.about["events"] == 2 * NUM_DAYS * NUM_USERS


def planted(rows: list[Row]) -> list[Row]:
    """Twelve faults in one shop; the counts are in the test below."""
    rows = [dict(row) for row in rows if day_of(row) not in (20, 21)]
    rows = [row for row in rows if not (day_of(row) == 30 and row["channel"] == "app" and row["event_type"] == "view")]
    for place, row in enumerate(row for row in rows if row["event_type"] == "purchase"):
        if day_of(row) == 35:
            row["price"] = None
        elif place % 10 == 0:
            row["order_id"] = None
    for row in rows:
        if day_of(row) in (38, 39):
            row["ts"] -= dt.timedelta(hours=3)
    orders = [row for row in rows if row["event_type"] == "purchase" and row["order_id"]]
    orders[50]["order_id"], orders[52]["order_id"] = orders[51]["order_id"], orders[53]["order_id"]
    day = FIRST + dt.timedelta(days=40)
    rows += [event(f"u{n}", "refund", day, "i1", price=500, order_id="gone", event_id=f"r{n}") for n in range(3)]
    rows += [dict(row) for row in rows[100:104]]  # one event_id, one content
    rows += [rows[200] | {"item_id": "another"}]  # one event_id, two contents
    soon = dt.timedelta(milliseconds=400)
    rows += [row | {"event_id": f"again{n}", "ts": row["ts"] + soon} for n, row in enumerate(rows[300:305])]
    rows += [event("u1", "view", utc("2190-01-01"), "i1", event_id=f"far{n}") for n in range(2)]
    rows += [event("u1", "view", utc("1970-01-01 00:01"), "i1", event_id="old")]
    late = FIRST + dt.timedelta(days=41)
    rows += [
        event("u1", "view", late + dt.timedelta(hours=h), f"i{h}", event_id=f"l{h}", session_id="endless")
        for h in (0, 30)
    ]
    times = [(m, late + dt.timedelta(minutes=m)) for m in (20, 10, 30)]
    return rows + [event("u2", "view", at, f"x{m}", event_id=f"b{m}", device_id="back") for m, at in times]


@pytest.fixture(scope="module")
def sick(rows: list[Row], tmp_path_factory: pytest.TempPathFactory) -> HealthReport:
    return checked(planted(rows), tmp_path_factory.mktemp("sick") / "shop")


@pytest.mark.parametrize(
    ("name", "subject", "severity", "count"),
    [
        ("coverage.missing_days", "", "error", 2),
        ("coverage.drop", "view on channel app", "warning", 1),
        ("nulls.sudden", "purchase.price", "warning", 1),
        ("nulls.needed", "purchase.order_id", "warning", 62),  # each tenth of 640, without two of the day 35
        ("orders.refund_without_purchase", "", "warning", 3),
        ("orders.several_customers", "", "error", 3),  # two of purchases, and the refunds of "gone"
        ("duplicates.same_event_id", "", "warning", 5),
        ("duplicates.conflicting_event_id", "", "error", 1),
        ("duplicates.same_content", "", "warning", 6),  # the two of the far future are one, too
        ("clocks.future", "", "error", 2),
        ("clocks.never_set", "", "error", 1),
        ("clocks.endless_session", "", "warning", 1),
    ],
)
def test_check_when_a_fault_is_planted_then_it_is_found_and_counted(
    name: str, subject: str, severity: str, count: int, sick: HealthReport
) -> None:
    one = found(sick, name, subject)
    assert (one.severity, one.count) == (severity, count)
    assert one.expected
    assert one.do.endswith(".")


def test_check_when_two_days_are_moved_by_three_hours_then_says_which(sick: HealthReport) -> None:
    one = [one for one in sick.findings if one.check == "clocks.whole_hours"]
    assert {case["day"] for finding in one for case in finding.examples} == {"2024-05-09", "2024-05-10"}
    assert {case["hours"] for finding in one for case in finding.examples} == {-3}


def test_check_when_a_device_s_clock_goes_back_then_found(sick: HealthReport) -> None:
    one = found(sick, "clocks.backwards", "device")
    assert {"device_id": "back", "steps_back": 1, "most_minutes": 10.0} in one.examples


def test_report_when_there_are_findings_then_the_worst_are_first_and_json_holds_all(sick: HealthReport) -> None:
    severities = [one.severity for one in sick.findings]
    assert severities == sorted(severities, key=["error", "warning", "notice"].index)
    told = sick.as_json()
    assert (told["healthy"], told["error"], len(told["findings"])) == (False, 5, len(sick.findings))


def test_arrival_when_a_file_says_when_events_were_received_then_late_ones_are_counted(
    rows: list[Row], tmp_path: Path
) -> None:
    waits = [dt.timedelta(minutes=20 if place % 20 == 0 else 2) for place in range(len(rows))]
    waits[1] = dt.timedelta(minutes=-30)  # happened half an hour after it was received
    received = [row["ts"] + wait for row, wait in zip(rows, waits, strict=True)]
    table = pa.table(
        {"event_id": [row["event_id"] for row in rows], "received_at": pa.array(received, pa.timestamp("us", tz="UTC"))}
    )
    pq.write_table(table, tmp_path / "arrivals.parquet")
    report = checked(rows, tmp_path / "shop", arrivals=tmp_path / "arrivals.parquet")
    late = found(report, "arrival.late")
    assert (late.severity, late.count, late.of) == ("error", len(rows) // 20, len(rows))
    assert found(report, "clocks.ahead_of_receipt").count == 1
    relaxed = checked(
        rows, tmp_path / "again", arrivals=tmp_path / "arrivals.parquet", settings=HealthSettings(limit_minutes=30)
    )
    assert "arrival.late" not in {one.check for one in relaxed.findings}


def test_shifted_days_when_visits_are_few_then_nothing_is_said() -> None:
    rng = np.random.default_rng(0)
    hours = pd.DataFrame(rng.poisson(2.0, (60, 24)), index=pd.date_range("2024-01-01", periods=60))
    assert shifted_days(hours).empty


@pytest.mark.parametrize("change", [lambda rows: rows[::-1], lambda rows: sorted(rows, key=lambda row: row["user_id"])])
def test_check_when_rows_are_in_another_order_then_clocks_are_not_blamed(
    change: Callable[[list[Row]], list[Row]], rows: list[Row], tmp_path: Path
) -> None:
    report = checked(change(rows[:2000]), tmp_path / "shop")
    assert "clocks.backwards" not in {one.check for one in report.findings}


def test_command_when_strict_then_refuses_after_it_has_told_all(
    rows: list[Row], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_shop(tmp_path / "shop", events=[*rows[:200], *rows[:3]])
    result = check(data, tmp_path / "out.json", engine=ENGINE)
    assert result is not None
    assert result["warning"] == 1
    assert (tmp_path / "out.json").is_file()
    with pytest.raises(DataError, match="expected neither errors nor warnings, found 0 and 1; each finding above"):
        check(data, strict=True, engine=ENGINE)
    assert '"duplicates.same_event_id"' in capsys.readouterr().out


@pytest.mark.parametrize("limit", [float("inf"), float("nan"), 1e300, -1, True, "1h"])
def test_settings_when_a_limit_is_no_span_of_time_then_refused(limit: object) -> None:
    with pytest.raises(ConfigError, match=r"limits\.session_hours: expected a number from 0 to 1000000, found "):
        HealthSettings.parse({"session_hours": limit}, where="limits")


def test_section_when_drawn_then_computed_as_the_page_says_and_nothing_is_written_beside_the_data(
    tmp_path: Path,
) -> None:
    data = write_shop(tmp_path / "in" / "shop", events=shop_rows()[:50])
    (tmp_path / "in" / "spill").mkdir()
    told, words = data.parent.stat().st_mtime_ns, Words.load("en", Path(section.__file__).parent)
    connection = duckdb.connect()
    empty = connection.sql("SELECT 1 AS one")
    inputs = Inputs(
        connection=connection, log=empty, items=empty, shop=ShopSettings(), last_at_us=0, data=data, engine=ENGINE,
        period=Period(first_day=FIRST.date(), last_day=FIRST.date()), scratch=tmp_path / "in" / "spill",
    )  # fmt: skip
    (drawn,) = section.sections(inputs, words)
    assert "also of customers who did not consent to analytics" in drawn.text
    assert data.parent.stat().st_mtime_ns == told
    with pytest.raises(ConfigError, match="memory_limit: expected a size such as '4GB'"):
        section.sections(replace(inputs, engine=EngineSettings(memory_limit="much")), words)


def test_command_when_limits_are_misspelt_then_says_what_was_meant(tmp_path: Path) -> None:
    (tmp_path / "limits.yaml").write_text("null_shares: 0.1")
    with pytest.raises(ConfigError, match=r"limits: expected one of .*found 'null_shares'\. Did you mean 'null_share'"):
        check(tmp_path, limits=tmp_path / "limits.yaml")


def test_check_when_there_are_no_events_then_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"expected a data directory with events\.parquet, or a feature directory, found neither"
    ):
        check_health(tmp_path)
    with pytest.raises(DataError, match="expected events, found none"):
        checked([], tmp_path / "shop")
