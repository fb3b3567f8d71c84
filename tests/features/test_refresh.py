"""Features brought up to date are those built anew: table by table, row by row, whatever changed."""

from __future__ import annotations

import dataclasses
import datetime as dt
import logging
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import columns as c
from features.build import build_features
from features.errors import DataError
from features.event_log import EventLog
from features.files import read_json, sha256_of_file, write_json
from features.identity.denials import deny_link
from features.manifest import EVENT_LOG_FILE, IDENTITY_DIRECTORY, MANIFEST_FILE
from features.panel.build import PanelSettings
from features.refresh.linked_log import refreshed_identity, refreshed_log
from features.refresh.plan import Refresh, code_digest, plan_refresh
from features.refresh.sources import SOURCES_FILE, Sources
from features.settings import EngineSettings, ShopSettings
from tests.features.tiny_shop import event, utc, write_shop

ENGINE = EngineSettings(memory_limit="500MB", threads=1)
SHOP = ShopSettings(name="tiny", time_zone="Europe/Paris", country="FR")
PANEL = PanelSettings(min_purchases=1, max_items=0, horizon=7)
ITEMS = [{"item_id": f"i{n}", "category": "a/b" if n < 3 else "c", "price": 100 * n + 100} for n in range(5)]
FIRST = utc("2024-05-01 00:00")
Tables = dict[str, list[dict[str, Any]]]


def _some_events(generator: random.Random, *, days: range, count: int) -> list[dict[str, Any]]:
    """Anonymous and known users on shared devices; ids now and then missing, or repeated hours later."""
    rows = []
    for _ in range(count):
        device, user = f"d{generator.randrange(5)}", f"u{generator.randrange(6)}"
        kind = generator.choice(["view", "view", "cart", "purchase", "refund", "login", "message_sent"])
        at = FIRST + dt.timedelta(days=generator.choice(days), seconds=generator.randrange(86_400))
        more: dict[str, Any] = {"device_id": device if generator.random() < 0.7 else None, "price": 100}
        number = generator.randrange(400)
        more["event_id"] = None if number % 4 == 0 else f"e{number}"
        anonymous = more["device_id"] is not None and kind in ("view", "cart") and generator.random() < 0.5
        item = None if kind in ("login", "message_sent") else f"i{generator.randrange(5)}"
        rows.append(event(device if anonymous else user, kind, at, item, **more))
        if number % 50 == 0:
            rows.append(rows[-1] | {"ts": at + dt.timedelta(hours=generator.choice([0, 9, 30]))})
    return rows


def _consent(generator: random.Random) -> dict[str, Any]:
    at = FIRST + dt.timedelta(hours=generator.randrange(24 * 9))
    user, purpose = f"u{generator.randrange(6)}", generator.choice(c.PURPOSES)
    return {"user_id": user, "purpose": purpose, "granted": generator.random() < 0.6, "at": at}


def _identity(generator: random.Random) -> dict[str, Any]:
    at = FIRST + dt.timedelta(hours=generator.randrange(24 * 9))
    kind = generator.choice(["email", "device_id"])
    return {"id_a": f"u{generator.randrange(6)}", "id_b": f"{kind[0]}{generator.randrange(4)}", "seen_at": at} | {
        "id_type_a": "user_id",
        "id_type_b": kind,
    }


def _start(generator: random.Random) -> Tables:
    tables: Tables = {"events": _some_events(generator, days=range(5), count=60), "items": ITEMS}
    if generator.random() < 0.5:
        tables["consents"] = [_consent(generator) for _ in range(12)]
    if generator.random() < 0.5:
        tables["identities"] = [_identity(generator) for _ in range(3)]
    return tables


def _next_day(tables: Tables, generator: random.Random, day: int) -> Tables:
    """Add a day; now and then with rows that come late, changed consents, links, or somebody erased."""
    after = tables | {"events": tables["events"] + _some_events(generator, days=range(day, day + 1), count=12)}
    chance = generator.random()
    if chance < 0.25:
        after["events"] = after["events"] + _some_events(generator, days=range(day), count=3)
    elif chance < 0.4:
        gone = f"u{generator.randrange(6)}"
        after = {name: [row for row in rows if gone not in row.values()] for name, rows in after.items()}
    elif chance < 0.55 and "consents" in after:
        after["consents"] = [*after["consents"], *(_consent(generator) for _ in range(3))]
    elif chance < 0.75:
        after["identities"] = [*after.get("identities", []), _identity(generator)]
    return after | {"events": generator.sample(after["events"], len(after["events"]))}  # in no order


def _linked_log(data: Path, out: Path, refresh: Refresh, sources: Sources) -> Refresh:
    """The stages that are brought up to date, and a manifest of them."""
    out.mkdir()
    write_json(out / SOURCES_FILE, sources.to_json())
    identity = refreshed_identity(data, out, refresh, shop=SHOP, engine=ENGINE)
    linked = out / IDENTITY_DIRECTORY if identity else None
    _, refresh = refreshed_log(data, out, refresh, identity=linked, shop=SHOP, engine=ENGINE)
    files = {str(path.relative_to(out)): sha256_of_file(path) for path in out.rglob("*") if path.is_file()}
    write_json(out / MANIFEST_FILE, {"files": files, "settings": {}, "code": code_digest()})
    return refresh


def _expect_equal(one: Path, other: Path) -> None:
    names = [
        sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.name != MANIFEST_FILE)
        for out in (one, other)
    ]
    assert names[0] == names[1]
    for name in names[0]:
        if name.endswith(".parquet"):
            assert pq.read_table(one / name).equals(pq.read_table(other / name)), name
    assert EventLog.open(one / EVENT_LOG_FILE).fingerprint == EventLog.open(other / EVENT_LOG_FILE).fingerprint
    about = [out / IDENTITY_DIRECTORY / "about.json" for out in (one, other)]
    assert not about[0].exists() or read_json(about[0]) == read_json(about[1])


@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 100_000))
def test_log_when_days_are_added_then_as_built_anew(seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    root, generator = tmp_path_factory.mktemp("refresh"), random.Random(seed)
    tables = _start(generator)
    data = write_shop(root / "data", shop=SHOP, **tables)
    sources, refresh = plan_refresh(data, root / "0", settings={}, engine=ENGINE, staged=root)
    _linked_log(data, root / "0", refresh, sources)
    for step, day in enumerate((5, 6), start=1):
        tables = _next_day(tables, generator, day)
        write_shop(data, shop=SHOP, **tables)
        sources, refresh = plan_refresh(data, root / str(step - 1), settings={}, engine=ENGINE, staged=root)
        assert refresh.mode == "by day", refresh.why
        _linked_log(data, root / str(step), refresh, sources)
        _linked_log(data, root / f"anew {step}", Refresh.anew("to compare"), sources)
        _expect_equal(root / str(step), root / f"anew {step}")


def test_features_when_a_day_is_added_then_as_built_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    generator = random.Random(3)
    tables: Tables = {"items": ITEMS, "events": _some_events(generator, days=range(8), count=80)}
    data, out = write_shop(tmp_path / "data", shop=SHOP, **tables), tmp_path / "features"
    first = build_features(data, out, engine=ENGINE, panel=PANEL)
    assert first["refresh"]["mode"] == "anew"
    again = build_features(data, out, engine=ENGINE, panel=PANEL)
    assert (again["refresh"]["mode"], again["created_at"]) == ("unchanged", first["created_at"])
    tables["events"] = tables["events"] + _some_events(generator, days=range(8, 9), count=20)
    write_shop(data, shop=SHOP, **tables)
    with caplog.at_level(logging.INFO):
        refreshed = build_features(data, out, engine=ENGINE, panel=PANEL)
    assert refreshed["refresh"]["mode"] == "by day"
    assert "brought up to date" in caplog.text
    anew = build_features(data, tmp_path / "anew", engine=ENGINE, panel=PANEL)
    assert refreshed["fingerprint"] == anew["fingerprint"]
    parts = {name for name in anew["files"] if anew["files"][name] != refreshed["files"][name]}
    assert parts <= {EVENT_LOG_FILE}  # its metadata may name other days; its rows are compared
    assert pq.read_table(out / EVENT_LOG_FILE).equals(pq.read_table(tmp_path / "anew" / EVENT_LOG_FILE))


def _planned(tmp_path: Path, tables: Tables, **settings: Any) -> Refresh:
    data = write_shop(tmp_path / "data", shop=SHOP, **tables)
    return plan_refresh(data, tmp_path / "out", settings=settings, engine=ENGINE, staged=tmp_path)[1]


def test_plan_when_something_else_changed_then_everything_anew_with_the_reason(tmp_path: Path) -> None:
    tables: Tables = {"events": [event("ann", "view", f"2024-05-0{day} 09:00", "i1") for day in (1, 2, 3)]}
    data = write_shop(tmp_path / "data", shop=SHOP, **tables)
    sources, refresh = plan_refresh(data, tmp_path / "out", settings={}, engine=ENGINE, staged=tmp_path)
    assert refresh.why == "there is no earlier build to go by"
    _linked_log(data, tmp_path / "out", refresh, sources)
    assert _planned(tmp_path, tables).mode == "unchanged"
    assert _planned(tmp_path, tables, panel={"horizon": 7}).why == "settings changed"
    fourth = event("ann", "view", "2024-05-04 09:00", "i1")
    added = _planned(tmp_path, {"events": [*tables["events"], fourth]})
    assert (added.mode, added.changed_days, added.links_added) == ("by day", {19_847}, True)  # 2024-05-04
    late = _planned(tmp_path, {"events": [*tables["events"], fourth | {"ts": utc("2024-05-02 10:00")}]})
    assert (late.changed_days, late.links_added) == ({19_845}, False)
    gone = _planned(tmp_path, {"events": tables["events"][:1]})
    assert gone.changed_days == {19_845, 19_846}
    log = tmp_path / "out" / EVENT_LOG_FILE
    log.write_bytes(log.read_bytes()[:-1])
    assert _planned(tmp_path, tables).why == "event_log.parquet is not what its manifest says"


def test_log_when_a_late_row_takes_the_id_of_a_kept_one_then_built_anew(tmp_path: Path) -> None:
    kept = event("ann", "view", "2024-05-03 09:00", "i1", event_id="e1")
    other = event("bob", "view", "2024-05-03 11:00", "i1", event_id="e2")
    data = write_shop(tmp_path / "data", shop=SHOP, events=[kept, other])
    sources, refresh = plan_refresh(data, tmp_path / "out", settings={}, engine=ENGINE, staged=tmp_path)
    _linked_log(data, tmp_path / "out", refresh, sources)
    write_shop(data, shop=SHOP, events=[kept, other, kept | {"ts": utc("2024-05-01 09:00")}])
    sources, refresh = plan_refresh(data, tmp_path / "out", settings={}, engine=ENGINE, staged=tmp_path)
    found = _linked_log(data, tmp_path / "late", refresh, sources)
    assert (found.mode, found.why) == ("anew", "1 rows arrived late with an event_id that a later day has already")
    log = EventLog.open(tmp_path / "late" / EVENT_LOG_FILE).to_pandas(["event_id", "ts"])
    assert [str(at)[:10] for at in log["ts"]] == ["2024-05-01", "2024-05-03"]


def test_plan_when_a_denial_is_added_then_all_is_linked_again(tmp_path: Path) -> None:
    tables: Tables = {"events": [event("ann", "login", "2024-05-01 09:00", device_id="d1")]}
    data = write_shop(tmp_path / "data", shop=SHOP, **tables)
    sources, refresh = plan_refresh(data, tmp_path / "out", settings={}, engine=ENGINE, staged=tmp_path)
    _linked_log(data, tmp_path / "out", refresh, sources)
    deny_link(data, id_a="ann", id_b="d1", why="sold", at=utc("2024-05-02 09:00"))
    refresh = _planned(tmp_path, tables)
    assert (refresh.mode, refresh.changed_days, refresh.links_added) == ("by day", frozenset(), False)


def test_sources_when_a_file_changes_while_features_are_built_then_refused(tmp_path: Path) -> None:
    data = write_shop(tmp_path / "data", shop=SHOP, events=[event("ann", "view", "2024-05-01 09:00", "i1")])
    sources = Sources.read(data, engine=ENGINE, spill=tmp_path)
    write_shop(data, shop=dataclasses.replace(SHOP, name="another name"))
    with pytest.raises(DataError, match=r"shop.yaml: expected the file to stay while features are built"):
        sources.expect_unchanged(data)


def test_digests_when_rows_differ_in_order_alone_then_equal(tmp_path: Path) -> None:
    rows = _some_events(random.Random(1), days=range(3), count=30)
    data = write_shop(tmp_path / "data", shop=SHOP, events=rows)
    one = Sources.read(data, engine=ENGINE, spill=tmp_path)
    pq.write_table(
        pa.concat_tables([pq.read_table(data / "events.parquet")]).take(list(range(len(rows)))[::-1]),
        data / "events.parquet",
    )
    other = Sources.read(data, engine=ENGINE, spill=tmp_path)
    assert one.days == other.days
    assert one.files != other.files
