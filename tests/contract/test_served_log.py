"""What was served feeds training: the next feature build holds the history that the shop's own log would have given."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest

import footfall
from features.build import FeatureSet, build_features
from features.event_log import EventLog
from features.files import read_json, write_json
from features.live_log.archive import LiveLog
from features.live_log.merge import ConsentRow, merge_served
from features.panel.build import PanelSettings
from features.privacy.consents import ALWAYS, Consent, ConsentBook
from features.refresh.sources import Sources
from features.release import ReleaseStore
from features.release.erasure import ErasureList
from features.settings import EngineSettings, ShopSettings
from serving.history.stored import UserEvents
from serving.live.exporting import export_live
from serving.live.ingest import checked_rows
from serving.live.kept import kept_events
from serving.live.opening import open_live
from serving.live.settings import LiveSettings
from serving.live.store import LiveStore
from tests.features.tiny_shop import event, utc, write_shop
from tests.serving.redis_process import RedisProcess

ENGINE = EngineSettings(memory_limit="500MB", threads=1)
SHOP = ShopSettings(name="tiny", time_zone="Europe/Paris", country="FR")
PANEL = PanelSettings(min_purchases=1, max_items=0, horizon=7)
ITEMS = [{"item_id": f"i{n}", "category": "a/b", "price": 100 * n + 100} for n in range(4)]
MORE = {"session_id": "s1", "quantity": 2, "price": 250, "channel": "app", "dwell_ms": 900, "section": "shelf"}


def logged(*, first: int = 0, count: int = 12, day: int = 1) -> list[dict[str, Any]]:
    """Events as the shop would log them."""
    at = utc(f"2024-05-{day:02d} 22:00")
    return [
        event(f"u{n % 3}", "purchase" if n % 4 == 0 else "view", at + dt.timedelta(minutes=17 * n), f"i{n % 4}")
        | {"event_id": f"e{n}", **(MORE if n % 4 == 0 else {})}
        for n in range(first, first + count)
    ]


def sent(live: LiveStore, rows: list[dict[str, Any]]) -> None:
    """Send the same events to the service."""
    content = [{name: value for name, value in row.items() if value is not None} for row in rows]
    texts = [one | {"ts": one["ts"].isoformat()} for one in content]
    good, rejected = checked_rows(msgspec.json.decode(msgspec.json.encode(texts)))
    assert not rejected
    live.add([one for _, one in good], judge=lambda events: ["kept"] * len(events))


def log_of(data: Path, out: Path) -> EventLog:
    return EventLog.build(data, out, shop=SHOP, engine=ENGINE)


@pytest.fixture(params=["sqlite", "redis"])
def live(request: pytest.FixtureRequest, tmp_path: Path) -> LiveStore:
    place = {"file": str(tmp_path / "store" / "live.sqlite")}
    if request.param == "redis":
        process: RedisProcess = request.getfixturevalue("redis_process")
        place = {"url": process.url, "prefix": f"s{abs(hash(str(tmp_path)))}"}
    return open_live(msgspec.convert(place | {"max_age_days": 36_500}, LiveSettings), Path())


@pytest.fixture
def store(tmp_path: Path) -> ReleaseStore:
    (tmp_path / "store").mkdir(exist_ok=True)
    return ReleaseStore(root=tmp_path / "store")


def test_export_when_events_were_served_then_the_log_is_that_of_a_shop_that_logged_them(
    live: LiveStore, store: ReleaseStore, tmp_path: Path
) -> None:
    own, served = logged(count=5), logged(first=5, count=9)
    write_shop(tmp_path / "data", events=own, items=ITEMS)
    write_shop(tmp_path / "both", events=own + served, items=ITEMS)
    sent(live, served[:6])
    first = export_live(live, store, to=tmp_path / "data", engine=ENGINE)
    assert (first["events"], first["new"], first["days"], first["data"]["events"]) == (6, 6, 2, 6)
    sent(live, served[4:])  # two again, three later: into a day that was exported already
    second = export_live(live, store, to=tmp_path / "data", engine=ENGINE)
    assert (second["events"], second["data"]["events"], second["data"]["known"]) == (3, 3, 6)
    archive = LiveLog.of_store(store.root)
    assert archive.directory.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in archive.days()} == {0o600}
    expected = log_of(tmp_path / "both", tmp_path / "both.parquet")
    found = log_of(tmp_path / "data", tmp_path / "found.parquet")
    assert found.fingerprint == expected.fingerprint
    assert found.to_pandas(["dwell_ms", "section"]).dropna().shape == (4, 2)
    before = (tmp_path / "data" / "events.parquet").stat()
    assert export_live(live, store, to=tmp_path / "data", engine=ENGINE)["data"]["events"] == 0
    assert (tmp_path / "data" / "events.parquet").stat() == before  # so that features stay as they are
    # The shop imports its log anew: what was served comes back from the archive.
    write_shop(tmp_path / "again", events=own, items=ITEMS)
    assert merge_served(LiveLog.of_store(store.root), tmp_path / "again", engine=ENGINE)["events"] == 9
    assert log_of(tmp_path / "again", tmp_path / "again.parquet").fingerprint == expected.fingerprint


def test_features_when_served_events_were_exported_then_refreshed_by_day_and_counted_once(
    store: ReleaseStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_shop(tmp_path / "data", events=logged(), items=ITEMS)
    before = Sources.read(tmp_path / "data", engine=ENGINE, spill=tmp_path)
    served = logged(first=12, count=7, day=9)
    live = open_live(LiveSettings(max_age_days=36_500), store.root)
    sent(live, served)
    assert footfall.main(["live", "export", str(store.root), "--to", str(tmp_path / "data")]) == 0
    assert '"events": 7' in capsys.readouterr().out
    after = Sources.read(tmp_path / "data", engine=ENGINE, spill=tmp_path)
    assert len(after.changed_days("events", before)) == 1  # which alone is read
    manifest = build_features(tmp_path / "data", tmp_path / "features", engine=ENGINE, panel=PANEL)
    assert manifest["counts"]["events"] == 19
    features = FeatureSet.load(tmp_path / "features")
    for user in ("u0", "u1", "u2"):
        row = features.users.code_of(user) - 2
        span = slice(*features.sequences.offsets[row : row + 2])
        stored = UserEvents(
            **{n: getattr(features.sequences, n)[span] for n in ("item", "event_type", "ts", "price_band")}
        )
        rows = live.read([user])[user].events
        codes = {"view": 2, "purchase": 9}
        sent_here = UserEvents.from_rows(
            [(features.vocabulary.code_of(i or ""), codes[kind], ts, 0) for ts, kind, i in rows]
        )
        assert len(rows) > 0
        assert UserEvents.merged(stored, sent_here).ts.tolist() == stored.ts.tolist()  # each counts once
    live.close()


def test_export_when_a_customer_was_erased_or_withdrew_then_their_events_stay_out(
    store: ReleaseStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = logged()
    archive = LiveLog.of_store(store.root)
    with archive.locked():
        archive.add([row | {"ts": int(row["ts"].timestamp()) * 1_000_000} for row in rows], engine=ENGINE)
    write_shop(tmp_path / "data", events=logged(first=90, count=1), items=ITEMS)
    write_json(tmp_path / "data" / "about.json", {"tables": {"events": {"accepted": 1}}})
    ErasureList(path=store.erasures.path).add("u0")
    withdrawn = [ConsentRow("u1", "analytics", False, int(rows[7]["ts"].timestamp()) * 1_000_000)]
    found = merge_served(archive, tmp_path / "data", consents=withdrawn, erased=store.erasures.load(), engine=ENGINE)
    # u0 has 0, 3, 6, 9, which stay out; u1 has 1, 4, 7, 10, and u2 has 2, 5, 8, 11
    assert found == {"known": 0, "erased": 4, "events": 8, "consents": 1}
    counts = read_json(tmp_path / "data" / "about.json")["tables"]
    assert counts["events"] == {"accepted": 9, "served": 8}
    assert counts["served_consents"]["served"] == 1
    log = log_of(tmp_path / "data", tmp_path / "log.parquet").to_pandas()
    assert log[log["user_id"] == "u1"]["for_analytics"].tolist() == [False] * 4
    live = open_live(LiveSettings(max_age_days=36_500), store.root)
    sent(live, [rows[2], event("u2", "view", utc("2024-06-01 00:00"), "i1", section="shelf")])
    kept = kept_events(live, archive, ["u2"])
    assert len(kept) == 5  # each once, wherever it is
    assert kept[-1].more == '{"section":"shelf"}'
    assert export_live(live, store, to=tmp_path / "data", keep_days=30, engine=ENGINE)["pruned"] == 3
    assert read_json(tmp_path / "data" / "about.json")["tables"]["events"]["served"] == 9
    live.close()
    with archive.locked():
        archive.add([row | {"ts": int(row["ts"].timestamp()) * 1_000_000} for row in rows], engine=ENGINE)
    assert footfall.main(["data", "erase", "u2", "--store", str(store.root)]) == 0
    assert json.loads(capsys.readouterr().out)["store"]["log_rows"] == 4
    assert b"u2" not in b"".join(path.read_bytes() for path in archive.days())


def test_features_when_consent_is_withdrawn_after_a_merge_then_no_purpose_uses_the_event_under_any_linked_id(
    store: ReleaseStore, tmp_path: Path
) -> None:
    archive = LiveLog.of_store(store.root)
    at = utc("2024-05-02 10:00")
    shop = [event("u0", "view", at, "i0", event_id="z"), event("ann", "login", at, event_id="l", device_id="phone")]
    links = [{"id_a": "ann", "id_b": "phone", "seen_at": at, "id_type_a": "user_id", "id_type_b": "device_id"}]
    write_shop(tmp_path / "data", events=shop, items=ITEMS, identities=links, shop=SHOP)
    at_us = round(at.timestamp() * 1e6)
    with archive.locked():
        archive.add([{"event_id": "a", "user_id": "ann", "ts": at_us + 1, "event_type": "view", "item_id": "i1"}])
    merge_served(archive, tmp_path / "data", engine=ENGINE)
    assert flags(tmp_path) == {"a": [True, True], "l": [True, True], "z": [True, True]}
    said = [ConsentRow("phone", "personalisation", False, at_us + 9)]  # under an id of hers that sent no event
    for added in (1, 0):
        assert merge_served(archive, tmp_path / "data", consents=said, engine=ENGINE)["consents"] == added
    assert flags(tmp_path) == {"a": [True, False], "l": [True, False], "z": [True, True]}
    book = ConsentBook.load(tmp_path / "features" / "consents.parquet")
    assert book.of("ann", "personalisation").withdrawn_us == at_us + 9
    assert book.of("ann", "analytics") == book.of("u0", "analytics") == Consent(from_us=ALWAYS)
    assert book.holding(["ann", "u0"], "personalisation", at_us + 10).tolist() == [False, True]


def flags(directory: Path) -> dict[str, list[bool]]:
    """Which purposes a feature build lets each event serve: analytics, personalisation."""
    build_features(directory / "data", directory / "features", engine=ENGINE, panel=PANEL)
    log = FeatureSet.load(directory / "features").event_log.to_pandas()
    return dict(zip(log["event_id"], log[["for_analytics", "for_personalisation"]].to_numpy().tolist(), strict=True))


def test_kept_when_two_purchases_differ_by_their_id_alone_then_both_are_told(
    live: LiveStore, store: ReleaseStore
) -> None:
    archive = LiveLog.of_store(store.root)
    at = utc("2024-05-01 22:00")
    sent(live, [event("u9", "purchase", at, "i1", event_id=f"o{n}", price=100 * n, order_id=f"A{n}") for n in (1, 2)])
    told = [(row.event_id, json.loads(row.more or "")) for row in kept_events(live, archive, ["u9"])]
    assert sorted(told, key=str) == [(f"o{n}", {"price": 100 * n, "order_id": f"A{n}"}) for n in (1, 2)]
    export_live(live, store, engine=ENGINE)  # from now on a live event of Redis knows no id
    assert sorted(one.event_id for one in kept_events(live, archive, ["u9"])) == ["o1", "o2"]
    for path in archive.days():
        path.unlink()  # as `--keep-days` does
    assert len(kept_events(live, archive, ["u9"])) == 2
    live.close()


def test_export_when_the_shop_keeps_consents_then_they_grow_by_what_the_service_was_told(
    store: ReleaseStore, tmp_path: Path
) -> None:
    kept = [{"user_id": "u0", "purpose": "analytics", "granted": True, "at": utc("2024-05-01 00:00")}]
    write_shop(tmp_path / "data", events=logged(), items=ITEMS, consents=kept)
    at_us = int(utc("2024-05-01 00:00").timestamp()) * 1_000_000
    said = [ConsentRow("u0", "analytics", True, at_us), ConsentRow("u1", "personalisation", False, at_us + 5)]
    for added in (1, 0):
        found = merge_served(LiveLog.of_store(store.root), tmp_path / "data", consents=said, engine=ENGINE)
        assert found["consents"] == added
    rows = pq.read_table(tmp_path / "data" / "consents.parquet").to_pylist()
    assert [(row["user_id"], row["granted"]) for row in rows] == [("u0", True), ("u1", False)]
