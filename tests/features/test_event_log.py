from __future__ import annotations

import datetime as dt
import random
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import columns as c
from features.contract.tables import EVENTS
from features.errors import ConfigError, DataError
from features.event_log import LOG_COLUMNS, EventLog
from features.settings import EngineSettings, ShopSettings
from tests.features.tiny_shop import arrow_table, event, utc, write_shop

ENGINE = EngineSettings(memory_limit="500MB", threads=1)
SHOP = ShopSettings()


def build(directory: Path, *, shop: ShopSettings = SHOP, **tables: Any) -> EventLog:
    data = write_shop(directory / "data", shop=shop, **tables)
    return EventLog.build(data, directory / "log.parquet", shop=shop, engine=ENGINE)


def test_event_log_when_rows_arrive_in_any_order_then_sorted_by_user_instant_and_id(tmp_path: Path) -> None:
    rows = [
        event("bob", "view", "2024-05-02 10:00", "x", event_id="e3"),
        event("ann", "view", "2024-05-02 10:00", "x", event_id="e2"),
        event("ann", "view", "2024-05-02 10:00", "y", event_id="e1"),
        event("ann", "login", "2024-05-01 10:00", event_id="e9"),
    ]
    log = build(tmp_path, events=rows)
    frame = log.to_pandas()
    assert list(frame.columns) == list(LOG_COLUMNS)
    assert frame["event_id"].tolist() == ["e9", "e1", "e2", "e3"]
    assert (log.num_events, log.num_users) == (4, 2)
    assert (log.first_at, log.last_at) == (utc("2024-05-01 10:00"), utc("2024-05-02 10:00"))


def test_event_log_when_shop_is_in_paris_then_days_and_hours_are_local_through_summer_time(tmp_path: Path) -> None:
    # Clocks in Paris went from UTC+1 to UTC+2 at 2024-03-31 01:00 UTC.
    instants = ["2024-03-30 22:59", "2024-03-30 23:00", "2024-03-31 00:59", "2024-03-31 01:00", "2024-07-01 22:30"]
    rows = [event("ann", "login", ts) for ts in instants]
    log = build(tmp_path, shop=ShopSettings(time_zone="Europe/Paris"), events=rows)
    frame = log.to_pandas([c.LOCAL_DAY, c.LOCAL_HOUR])
    assert frame[c.LOCAL_DAY].dt.strftime("%m-%d").tolist() == ["03-30", "03-31", "03-31", "03-31", "07-02"]
    assert frame[c.LOCAL_HOUR].tolist() == [23, 0, 1, 3, 0]
    assert log.last_day == dt.date(2024, 7, 2)


def test_event_log_when_an_event_id_repeats_then_its_first_row_stays(tmp_path: Path) -> None:
    rows = [
        event("ann", "view", "2024-05-02 10:00", "late", event_id="e1"),
        event("ann", "view", "2024-05-01 10:00", "early", event_id="e1"),
        event("bob", "view", "2024-05-03 10:00", "later", event_id="e1"),
    ]
    assert build(tmp_path, events=rows).to_pandas()["item_id"].tolist() == ["early"]


def test_event_log_when_ids_are_missing_then_equal_rows_stay_apart_and_ids_are_stable(tmp_path: Path) -> None:
    rows = [event("ann", "view", "2024-05-01 10:00", "x")] * 3 + [event("ann", "view", "2024-05-01 10:00", "y")]
    first = build(tmp_path / "1", events=rows).to_pandas()["event_id"]
    again = build(tmp_path / "2", events=rows[::-1]).to_pandas()["event_id"]
    assert first.is_unique
    assert first.notna().all()
    assert first.tolist() == again.tolist()


def _some_rows(seed: int, num_rows: int = 40) -> list[dict[str, Any]]:
    generator = random.Random(seed)
    return [
        event(
            generator.choice(["ann", "bob"]),
            generator.choice(["view", "purchase"]),
            utc("2024-05-01 00:00") + dt.timedelta(hours=generator.randrange(4)),
            generator.choice("xyz"),
            event_id=generator.choice([None, None, f"e{generator.randrange(20)}"]),
            price=generator.choice([None, 100]),
        )
        for _ in range(num_rows)
    ]


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_event_log_when_rows_are_shuffled_then_file_and_fingerprint_are_equal(seed: int) -> None:
    rows = _some_rows(seed)
    shuffled = random.Random(seed + 1).sample(rows, len(rows))
    with tempfile.TemporaryDirectory() as scratch:
        one, two = build(Path(scratch, "1"), events=rows), build(Path(scratch, "2"), events=shuffled)
        assert one.fingerprint == two.fingerprint
        assert one.to_pandas().equals(two.to_pandas())
        assert one.to_pandas()["event_id"].is_unique


_CHANGES: dict[str, Any] = {"user_id": "bob", "event_type": "cart", "ts": utc("2024-05-01 10:00:01"), "quantity": 3}
_CHANGES |= {"price": 5, "dwell_ms": 7}


def test_fingerprint_when_one_cell_changes_then_it_changes_whatever_the_column(tmp_path: Path) -> None:
    row = event("ann", "view", "2024-05-01 10:00", "x", event_id="e1")
    rows = [row, *(row | {name: _CHANGES.get(name, "other")} for name in EVENTS.column_names)]
    logs = [build(tmp_path / str(n), events=[changed]) for n, changed in enumerate(rows)]
    assert len({log.fingerprint for log in logs}) == 1 + len(EVENTS.column_names)


def test_fingerprint_when_zone_or_consent_changes_then_it_changes(tmp_path: Path) -> None:
    rows = [event("ann", "view", "2024-05-01 23:30", "x", event_id="e1")]
    refusal = [{"user_id": "ann", "purpose": "analytics", "granted": False, "at": utc("2024-06-01 00:00")}]
    logs = [
        build(tmp_path / "1", events=rows),
        build(tmp_path / "2", events=rows, shop=ShopSettings(time_zone="Europe/Paris")),
        build(tmp_path / "3", events=rows, consents=refusal),
    ]
    assert len({log.fingerprint for log in logs}) == 3


def test_fingerprint_when_empty_text_replaces_null_then_it_changes(tmp_path: Path) -> None:
    row = event("ann", "view", "2024-05-01 10:00", "x", event_id="e1")
    logs = [build(tmp_path / str(n), events=[row | {"section": text}]) for n, text in enumerate([None, ""])]
    assert logs[0].fingerprint != logs[1].fingerprint


@pytest.mark.parametrize("default", ["granted", "denied"])
def test_flags_when_there_is_no_consents_table_then_the_shops_default_holds(tmp_path: Path, default: Any) -> None:
    shop = ShopSettings(consent_default=default)
    frame = build(tmp_path, shop=shop, events=[event("ann", "login", "2024-05-01 10:00")]).to_pandas()
    assert frame[c.FOR_ANALYTICS].tolist() == [default == "granted"]
    assert frame[c.FOR_PERSONALISATION].tolist() == [default == "granted"]


@pytest.mark.parametrize("default", ["granted", "denied"])
def test_flags_when_a_consents_table_says_nothing_of_a_user_or_purpose_then_not_granted(
    tmp_path: Path, default: Any
) -> None:
    events = [event(user, "login", "2024-05-01 10:00") for user in ("ann", "bob")]
    consents = [{"user_id": "ann", "purpose": "analytics", "granted": True, "at": utc("2024-04-01 00:00")}]
    frame = build(tmp_path, shop=ShopSettings(consent_default=default), events=events, consents=consents).to_pandas()
    assert frame[c.FOR_ANALYTICS].tolist() == [True, False]
    assert frame[c.FOR_PERSONALISATION].tolist() == [False, False]


def _may_serve(at: int, rows: list[tuple[int, bool]]) -> bool:
    """The rule, slowly: granted at the instant, and not withdrawn at it or since."""
    before = [granted for when, granted in rows if when <= at]
    latest = max((when for when, _ in rows if when <= at), default=None)
    granted_now = bool(before) and all(granted for when, granted in rows if when == latest)
    return granted_now and all(granted for when, granted in rows if when > at)


@settings(max_examples=10, deadline=None)
@given(
    consents=st.dictionaries(
        st.tuples(st.sampled_from(["ann", "bob"]), st.sampled_from(c.PURPOSES)),
        st.dictionaries(st.integers(0, 5), st.booleans(), max_size=4).map(lambda rows: sorted(rows.items())),
    ),
    default=st.sampled_from(["granted", "denied"]),
)
def test_flags_when_consent_comes_and_goes_then_as_the_rule_says(consents: Any, default: Any) -> None:
    start = utc("2024-05-01 00:00")
    events = [event(user, "login", start + dt.timedelta(hours=h)) for user in ("ann", "bob") for h in range(6)]
    rows = [
        {"user_id": user, "purpose": purpose, "granted": granted, "at": start + dt.timedelta(hours=h)}
        for (user, purpose), changes in consents.items()
        for h, granted in changes
    ]
    with tempfile.TemporaryDirectory() as scratch:
        shop = ShopSettings(consent_default=default)
        frame = build(Path(scratch), shop=shop, events=events, consents=rows).to_pandas()
    for purpose, flag in (("analytics", c.FOR_ANALYTICS), ("personalisation", c.FOR_PERSONALISATION)):
        expected = [_may_serve(h, consents.get((user, purpose), [])) for user in ("ann", "bob") for h in range(6)]
        assert frame[flag].tolist() == expected


def test_relation_when_a_purpose_is_named_then_only_its_rows_come(tmp_path: Path) -> None:
    rows = [event("ann", "login", "2024-05-01 10:00"), event("bob", "login", "2024-05-01 10:00")]
    at = utc("2024-04-01 00:00")
    consents = [
        {"user_id": user, "purpose": purpose, "granted": (user, purpose) != ("ann", "analytics"), "at": at}
        for user in ("ann", "bob")
        for purpose in c.PURPOSES
    ]
    log = build(tmp_path, events=rows, consents=consents)
    assert log.to_pandas(["user_id"], purpose="analytics")["user_id"].tolist() == ["bob"]
    assert log.to_pandas(["user_id"], purpose="personalisation")["user_id"].tolist() == ["ann", "bob"]
    with pytest.raises(ConfigError, match=r"purpose: expected one of .* found 'marketing'"):
        log.to_pandas(purpose="marketing")


GOOD = event("ann", "view", "2024-05-01 10:00", "x")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "expected at least one event"),
        ([GOOD | {"user_id": None}], "user_id IS NULL"),
        ([GOOD | {"ts": None}], "ts IS NULL"),
        ([GOOD | {"event_type": "purchse"}], "event_type NOT IN"),
        ([GOOD | {"item_id": None}], "item_id IS NULL AND event_type IN"),
        ([GOOD | {"price": -1}], "price < 0"),
    ],
)
def test_event_log_when_rows_break_the_contract_then_refused_and_nothing_is_left(
    tmp_path: Path, rows: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        build(tmp_path, events=rows)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_event_log_when_a_column_is_missing_or_of_another_type_then_refused(tmp_path: Path) -> None:
    table = arrow_table(EVENTS, [GOOD])
    path = write_shop(tmp_path / "data") / "events.parquet"
    pq.write_table(table.drop_columns(["price"]), path)
    with pytest.raises(DataError, match="expected column 'price' of type BIGINT, found no such column"):
        EventLog.build(path.parent, tmp_path / "log.parquet", shop=SHOP, engine=ENGINE)
    pq.write_table(table.set_column(2, "ts", pa.array(["yesterday"])), path)
    with pytest.raises(DataError, match="expected column 'ts' of type TIMESTAMP WITH TIME ZONE, found VARCHAR"):
        EventLog.build(path.parent, tmp_path / "log.parquet", shop=SHOP, engine=ENGINE)


def test_event_log_when_the_file_is_missing_or_no_parquet_then_refused(tmp_path: Path) -> None:
    data = write_shop(tmp_path / "data")
    with pytest.raises(DataError, match="expected the table 'events' of a data directory here, found no file"):
        EventLog.build(data, tmp_path / "log.parquet", shop=SHOP, engine=ENGINE)
    (data / "events.parquet").write_bytes(b"user_id,ts\n")
    with pytest.raises(DataError, match="expected a Parquet file"):
        EventLog.build(data, tmp_path / "log.parquet", shop=SHOP, engine=ENGINE)


def test_open_when_the_file_is_no_event_log_then_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="build the features first"):
        EventLog.open(tmp_path / "log.parquet")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "log.parquet")
    with pytest.raises(DataError, match="build the features again"):
        EventLog.open(tmp_path / "log.parquet")


def test_event_log_when_built_again_over_itself_then_the_old_file_serves_until_the_end(tmp_path: Path) -> None:
    first = build(tmp_path, events=[GOOD])
    with pytest.raises(DataError):
        build(tmp_path, events=[])
    assert EventLog.open(first.path) == first
