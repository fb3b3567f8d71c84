"""From a data directory to a log by customer: the map, consents, visits on shared devices, denials, and nothing to do."""

from __future__ import annotations

import dataclasses
import datetime as dt
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from features.commands.links import deny, links
from features.errors import ConfigError, DataError, UnknownId
from features.event_log import EventLog
from features.identity.build import MAP_FILE, MERGES_FILE, build_identity
from features.identity.denials import DENIALS_YAML, deny_link, read_denials
from features.identity.map import IdentityMap
from features.identity.settings import IdentitySettings
from features.privacy.access_log import AccessLog
from features.settings import EngineSettings, ShopSettings
from tests.features.tiny_shop import event, utc, write_shop

ENGINE = EngineSettings(memory_limit="500MB", threads=1)
SHOP = ShopSettings()


def view(user: str, at: str, device: str | None) -> dict[str, Any]:
    return event(user, "view", f"2024-05-0{at}", "x", device_id=device)


# ann browses on her phone d1, then logs in; d2 is a tablet that ann and bob share; d3 is nobody's yet.
EVENTS = [
    view("d1", "1 10:00", "d1"),
    view("ann", "2 10:00", "d1"),
    view("d2", "3 10:00", "d2"),
    view("ann", "3 10:05", "d2"),
    view("d2", "3 10:20", "d2"),
    view("bob", "4 18:00", "d2"),
    view("d3", "5 10:00", "d3"),
]


def build(directory: Path, *, shop: ShopSettings = SHOP, **tables: Any) -> tuple[EventLog, Path]:
    data = directory / "data"
    if not data.exists():
        write_shop(data, shop=shop, **tables)
    identity = directory / f"identity{len(list(directory.iterdir()))}"
    made = build_identity(data, identity, shop=shop, engine=ENGINE)
    log = EventLog.build(
        data, identity.with_suffix(".log"), shop=shop, engine=ENGINE, identity=identity if made else None
    )
    return log, identity


def test_log_when_ids_are_linked_then_anonymous_history_is_the_customers_and_the_source_is_kept(tmp_path: Path) -> None:
    log, _ = build(tmp_path, events=EVENTS)
    frame = log.to_pandas().sort_values("ts")
    # d2 at 10:00 is ann's, who logs in five minutes later; at 10:20 nobody follows in the visit.
    assert frame["user_id"].tolist() == ["ann", "ann", "ann", "ann", "d2", "bob", "d3"]
    assert frame["source_user_id"].tolist() == ["d1", "ann", "d2", "ann", "d2", "bob", "d3"]
    assert log.num_users == 4


def test_log_when_any_id_consents_then_it_counts_for_the_customer_from_its_instant_on(tmp_path: Path) -> None:
    # ann's phone says yes to analytics on 1 May at noon, her account takes personalisation back on 3 May.
    said = [("d1", "analytics", True, "1 12:00"), ("d1", "personalisation", True, "1 12:00")]
    said += [("ann", "personalisation", False, "3 00:00")]
    consents = [
        {"user_id": user, "purpose": purpose, "granted": granted, "at": utc(f"2024-05-0{at}")}
        for user, purpose, granted, at in said
    ]
    log, _ = build(tmp_path, events=EVENTS, consents=consents)
    anns = log.to_pandas().query("user_id == 'ann'").sort_values("ts")
    assert anns["for_analytics"].tolist() == [False, True, True, True]
    assert anns["for_personalisation"].tolist() == [False] * 4


def test_build_when_a_link_is_denied_then_the_device_leaves_and_comes_back_with_the_denial_gone(tmp_path: Path) -> None:
    _, before = build(tmp_path, events=EVENTS)
    deny(tmp_path / "data", "ann", "d1", why="sold")
    log, after = build(tmp_path)
    (tmp_path / "data" / DENIALS_YAML).unlink()
    _, again = build(tmp_path)
    maps = [IdentityMap.load(path / MAP_FILE).resolve(["d1", "ann", "d9"]) for path in (before, after, again)]
    assert maps == [["ann", "ann", "d9"], ["d1", "ann", "d9"], ["ann", "ann", "d9"]]
    assert log.to_pandas().sort_values("ts")["user_id"].tolist()[:2] == ["d1", "ann"]
    merges = pd.read_parquet(after / MERGES_FILE)
    assert merges.query("id_a == 'd1'")[["action", "reason"]].values.tolist() == [["left_out", "denied"]]


@pytest.mark.parametrize(
    ("tables", "settings"),
    [
        ({"events": [event("ann", "view", "2024-05-01 10:00", "x")]}, IdentitySettings()),
        ({"events": EVENTS}, IdentitySettings(enabled=False)),
        ({"events": EVENTS}, IdentitySettings(log_evidence="none")),
    ],
)
def test_build_when_nothing_links_two_ids_then_the_log_is_as_it_arrived(
    tables: dict[str, Any], settings: IdentitySettings, tmp_path: Path
) -> None:
    log, identity = build(tmp_path, shop=dataclasses.replace(SHOP, identity=settings), **tables)
    assert not identity.exists()
    frame = log.to_pandas()
    assert frame["user_id"].tolist() == frame["source_user_id"].tolist()


def test_log_when_a_device_has_the_text_of_an_account_then_it_is_not_taken_for_it(tmp_path: Path) -> None:
    rows = [view("7", "1 10:00", "7"), view("8", "2 10:00", "7"), view("7", "3 10:00", "9")]
    frame = build(tmp_path, events=rows)[0].to_pandas().sort_values("ts")
    assert frame["user_id"].tolist() == ["8", "8", "7"]  # device 7 is account 8's


def test_build_when_a_placeholder_links_many_then_an_alarm_is_written(tmp_path: Path) -> None:
    stated = [
        {"id_a": f"u{number}", "id_b": "none@shop", "id_type_b": "email", "seen_at": utc("2024-05-01 10:00")}
        for number in range(7)
    ]
    data = write_shop(tmp_path / "data", events=EVENTS, identities=stated)
    about = build_identity(data, tmp_path / "identity", shop=SHOP, engine=ENGINE)
    assert about is not None
    assert about["alarms"] == [
        {"alarm": "placeholder", "id": "none@shop", "id_type": "email", "links_left_out": 7},
    ]


def test_map_when_saved_and_loaded_then_equal(tmp_path: Path) -> None:
    _, identity = build(tmp_path, events=EVENTS)
    first = IdentityMap.load(identity / MAP_FILE)
    first.save(tmp_path / "copy.parquet")
    again = IdentityMap.load(tmp_path / "copy.parquet")
    pd.testing.assert_frame_equal(first.frame, again.frame)
    assert (again.settings, again.about) == (first.settings, first.about)
    assert again.ids_of("d1")["id"].tolist() == ["ann", "d1"]
    with pytest.raises(DataError, match="expected an identity map"):
        IdentityMap.load(identity / MERGES_FILE)


def test_links_when_asked_for_any_id_then_ids_evidence_merge_log_and_a_record(tmp_path: Path) -> None:
    _, identity = build(tmp_path, events=EVENTS)
    identity.rename(tmp_path / "identity")
    audit = tmp_path / "access.jsonl"
    found = links(tmp_path, user="d1", who="Dana", why="ticket 5", audit=audit)
    (line,) = AccessLog(path=audit).about("ann")  # recorded under each id of the customer
    assert (line["what"], line["who"], line["why"], len(line["subject"])) == ("links shown", "Dana", "ticket 5", 2)
    assert found["customer_id"] == "ann"
    assert [row["id"] for row in found["ids"]] == ["ann", "d1"]
    assert [(row["id_a"], row["status"]) for row in found["links"]] == [("d1", "used"), ("d2", "shared")]
    assert [row["action"] for row in found["merge_log"]] == ["merged", "left_out"]
    with pytest.raises(UnknownId, match="expected an id that another is linked with"):
        links(tmp_path, user="d3", audit=audit)
    with pytest.raises(ConfigError, match="expected --user ID"):
        links(tmp_path)


def test_denials_when_written_and_read_then_both_types_are_meant_and_faults_are_named(tmp_path: Path) -> None:
    deny_link(tmp_path, id_a="ann", id_b="d1", why="sold", at=dt.datetime(2024, 5, 4, tzinfo=dt.UTC))
    deny_link(tmp_path, id_a="ann", id_b="c1", type_b="cookie", why="café", at=dt.datetime(2024, 5, 4, tzinfo=dt.UTC))
    assert read_denials(tmp_path)["type_b"].tolist() == ["user_id", "device_id", "cookie"]
    (tmp_path / DENIALS_YAML).write_text("- {id_a: ann}\n")
    with pytest.raises(DataError, match="row 1: expected id_a and id_b"):
        read_denials(tmp_path)
    assert read_denials(tmp_path / "elsewhere").empty


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"shared": ("device",)}, "expected a type such as 'device_id', found 'device'"),
        ({"personal": ("device_id",)}, "expected each id type in one list, found 'device_id'"),
        ({"accounts": ("member",)}, "expected 'user_id' among them"),
        ({"max_ids": 1}, "identity.max_ids: expected a whole number of 2 or more, found 1"),
        ({"log_evidence": "all"}, "expected one of events, logins, none, found 'all'"),
    ],
)
def test_settings_when_wrong_then_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        IdentitySettings(**values)


def test_settings_when_saved_in_shop_yaml_then_read_back(tmp_path: Path) -> None:
    shop = ShopSettings(identity=IdentitySettings(max_ids=9, shared=("device_id", "kiosk")))
    shop.save(tmp_path)
    assert ShopSettings.load(tmp_path) == shop
