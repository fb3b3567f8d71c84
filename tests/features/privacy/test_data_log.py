"""`footfall data log`, `key` and `reveal` through the real entry."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import footfall
from features.privacy.access_log import AccessLog
from features.privacy.activity import Window
from features.settings import ShopSettings
from tests.features.privacy.traces import ERIN, PHONE, SHOP, traces, write_erins_shop
from tests.features.tiny_shop import utc


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_erins_shop(tmp_path_factory.mktemp("shop") / "data")


def run(*words: object, capsys: pytest.CaptureFixture[str], code: int = 0) -> dict[str, Any]:
    assert footfall.main(["data", *map(str, words)]) == code
    printed = capsys.readouterr()
    return json.loads(printed.out) if code == 0 else {"error": printed.err}


def test_log_when_a_customer_is_named_then_all_their_traces_come_in_order_with_the_shops_time(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    audit = tmp_path / "audit" / "access.jsonl"
    words = ["log", data, "--user", ERIN, "--from", "2024-03-30", "--to", "2024-03-31", "--audit", audit]
    found = run(*words, "--who", "Dana", "--why", f"ticket of {ERIN}", capsys=capsys)
    rows = found["activity"]
    assert found["time_zone"] == "Europe/Paris"
    assert [row["at"] for row in rows] == sorted(row["at"] for row in rows)
    # 30 and 31 March in Paris: every 7 hours from 01:00; at night the clocks go forward.
    own = [
        row["at"] for row in rows if row["table"] == "events" and row["event_type"] == "view" and row["user_id"] == ERIN
    ]
    assert own == [
        f"2024-03-{time}:00:00.000000{zone}"
        for time, zone in [
            ("30T01", "+01:00"), ("30T08", "+01:00"), ("30T15", "+01:00"), ("30T22", "+01:00"),
            ("31T06", "+02:00"), ("31T13", "+02:00"), ("31T20", "+02:00"),
        ]
    ]  # fmt: skip
    assert {row["user_id"] for row in rows} == {ERIN, PHONE}  # what she did before she logged in is hers
    assert {row["table"] for row in rows} == {"events", "exposures", "coupons", "identities"}
    line = json.loads(audit.read_text())
    assert (line["who"], line["why"], line["rows"]) == ("Dana", "ticket of (customer)", len(rows))
    assert traces([audit.parent], ERIN, PHONE) == []
    assert AccessLog(path=audit).about(ERIN) == [line]
    assert AccessLog(path=audit).about("ann") == []
    assert [stat.S_IMODE(path.stat().st_mode) for path in sorted(audit.parent.iterdir())] == [0o600, 0o600]


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".jsonl"])
def test_log_when_nobody_is_named_then_the_window_of_everyone_in_the_format_of_the_file(
    data: Path, tmp_path: Path, ending: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out, audit = tmp_path / f"window{ending}", tmp_path / "access.jsonl"
    times = ["--from=2024-03-30T08:00", "--to=2024-03-30T08:00:00.000001"]  # 07:00 UTC
    found = run("log", data, *times, "--out", out, "--audit", audit, capsys=capsys)
    read = {".csv": pd.read_csv, ".parquet": pd.read_parquet, ".jsonl": lambda path: pd.read_json(path, lines=True)}
    frame = read[ending](out)
    assert found["rows"] == len(frame) == 10  # five customers, who view and buy
    assert sorted(set(frame["user_id"])) == ["ann", "bob", "cid", "dan", ERIN]
    assert set(frame["at"]) == {"2024-03-30T08:00:00.000000+01:00"}
    assert json.loads(audit.read_text())["subject"] == "everyone"


def test_log_when_it_is_handed_on_then_under_pseudonyms_that_only_the_key_leads_back(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key, out, audit = tmp_path / "names.key", tmp_path / "out" / "erin.jsonl", tmp_path / "access.jsonl"
    asked = ["log", data, "--user", ERIN, "--out", out, "--audit", audit, "--pseudonymise", "agency", "--key", key]
    assert "expected a key file, found none" in run(*asked, capsys=capsys, code=2)["error"]
    assert run("key", key, capsys=capsys)["newest"] == "k1"
    run(*asked, capsys=capsys)
    assert run("key", key, "--rotate", capsys=capsys)["newest"] == "k2"
    assert traces([out.parent], ERIN, PHONE) == []
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    names = {row["user_id"] for row in rows}
    assert len(names) == 2
    assert all(name.startswith("k1:") for name in names)
    assert not any("detail" in row for row in rows)
    back = {
        run("reveal", name, data, "agency", "--key", key, "--audit", audit, capsys=capsys)["user_id"] for name in names
    }
    assert back == {ERIN, PHONE}
    wrong = run("reveal", names.pop(), data, "bank", "--key", key, "--audit", audit, capsys=capsys, code=3)
    assert "check the scope" in wrong["error"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--from", "yesterday"], 2, "--from: expected a time such as 2026-03-01"),
        (["--from", "2024-04-02", "--to", "2024-04-01"], 2, "--to: expected a time after --from (2024-04-02)"),
        (["--out", "log.xlsx"], 2, "--out: expected a file that ends in .csv, .parquet, .jsonl"),
    ],
)
def test_log_when_an_argument_does_not_fit_then_says_so_and_records_nothing(
    data: Path, tmp_path: Path, *, words: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    audit = tmp_path / "access.jsonl"
    assert said in run("log", data, *words, "--audit", audit, capsys=capsys, code=code)["error"]
    assert not audit.exists()
    assert "neither an event log nor events" in run("log", tmp_path, capsys=capsys, code=3)["error"]


def test_window_when_a_day_ends_it_then_the_whole_day_is_in_and_an_offset_is_kept() -> None:
    window = Window.parse("2024-03-31", "2024-03-31", SHOP)
    assert (window.since, window.until) == (utc("2024-03-30 23:00"), utc("2024-03-31 22:00"))  # 23 hours long
    assert Window.parse("2024-03-31T10:00+05:00", "", ShopSettings()).since == utc("2024-03-31 05:00")
