"""`footfall triggers` through the real entry: a small shop, one morning after another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import footfall
from features.customers.basics import BASICS
from features.customers.table import CustomerTable
from features.event_log import EventLog
from features.privacy.consents import ConsentBook
from features.privacy.pseudonyms import KeyRing
from features.release.release import ReleaseStore
from features.settings import EngineSettings, ShopSettings
from tests.features.tiny_shop import event, write_shop

ENGINE = EngineSettings(memory_limit="500MB", threads=1)
SHOP = ShopSettings(time_zone="Europe/Paris")
AGREED = ("ann", "bob", "cem", "dot", "eve", "fay")


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All left a cart on 2 June. Bob wants no push, cem was written to on the 3rd and 4th, gus never agreed."""
    out = tmp_path_factory.mktemp("features")
    push = {"medium": "push"}
    events = [
        *(event(user, "cart", "2024-06-02 10:00", "tea", price=500) for user in (*AGREED, "gus")),
        event("ann", "favorite", "2024-05-30 09:00", "pot"),
        event("bob", "message_unsubscribed", "2024-06-03 08:00", **push),
        *(event("cem", "message_sent", f"2024-06-0{day} 08:00", **push) for day in (2, 3, 4)),
        event("dot", "message_sent", "2024-06-03 16:00", "tea", campaign="cart_left", **push),
        event("fay", "view", "2024-06-04 20:00", "tea"),
    ]
    agreed = [
        {"user_id": user, "purpose": purpose, "granted": True, "at": "2024-05-01"}
        for user in AGREED
        for purpose in ("analytics", "personalisation")
    ]
    agreed.append({"user_id": "gus", "purpose": "analytics", "granted": True, "at": "2024-05-01"})
    consents = [row | {"at": pd.Timestamp(str(row["at"]), tz="UTC")} for row in agreed]
    items = [{"item_id": "tea", "title": "Tea"}, {"item_id": "pot", "title": "Pot"}]
    write_shop(out, shop=SHOP, events=events, items=items, consents=consents)
    log = EventLog.build(out, out / "event_log.parquet", shop=SHOP, engine=ENGINE)
    CustomerTable.build(log, out / "items.parquet", shop=SHOP, engine=ENGINE, parts=BASICS).save(
        out / "customers.parquet"
    )
    ConsentBook.build(out, shop=SHOP, engine=ENGINE).save(out / "book.parquet")
    (out / "book.parquet").replace(out / "consents.parquet")
    return out


def run(*words: object, capsys: pytest.CaptureFixture[str], code: int = 0) -> dict[str, Any]:
    assert footfall.main(["triggers", *map(str, words)]) == code
    printed = capsys.readouterr()
    return json.loads(printed.out) if code == 0 else {"error": printed.err}


def test_triggers_when_planned_then_each_goes_once_and_the_others_are_counted_by_reason(
    features: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As of the evening of 4 June: carts of ann, eve and fay go; fay is in the erasure list only later."""
    out, held = tmp_path / "june-5.parquet", tmp_path / "held.csv"
    words = ["--held", held, "--only", "cart_left, favourite_not_bought", "--as_of", "2024-06-04"]
    said = run(features, out, *words, capsys=capsys)
    messages = pd.read_parquet(out)
    assert list(zip(messages["user_id"], messages["trigger"], messages["item_id"], strict=True)) == [
        ("ann", "cart_left", "tea"), ("eve", "cart_left", "tea"), ("fay", "cart_left", "tea")
    ]  # fmt: skip
    first = messages.iloc[0]
    assert first["reason"] == "Tea has been in the cart for 2 days and was not bought."
    assert first["send_at"] == pd.Timestamp("2024-06-05 08:00Z")  # 10 in Paris
    assert first["send_at_local"] == "2024-06-05T10:00:00+02:00"
    (why,) = json.loads(first["evidence"])
    assert (why["found"], why["last_at"], why["last_item_id"]) == (1, "2024-06-02T10:00:00Z", "tea")
    assert pd.read_csv(held).set_index(["user_id", "trigger"])["held_by"].to_dict() == {
        ("ann", "favourite_not_bought"): "cap",
        ("bob", "cart_left"): "unsubscribed",
        ("cem", "cart_left"): "cap",
        ("dot", "cart_left"): "sent",
    }
    none = {"no_consent": 0, "unsubscribed": 0, "sent": 0, "cap": 0, "quiet_hours": 0}
    assert said["held_back"] == none | {"unsubscribed": 1, "sent": 1, "cap": 2}
    assert said["by_trigger"]["cart_left"] == {
        "open": 6, "planned": 3, "held_back": none | {"unsubscribed": 1, "sent": 1, "cap": 1}
    }  # fmt: skip
    assert said["customers"] == {"known": 7, "consenting": 6}
    late = run(features, out, "--only", "cart_left", capsys=capsys)  # nobody can write in the past
    assert (pd.read_parquet(out)["send_at"] > pd.Timestamp.now("UTC")).all()
    assert late["by_trigger"]["cart_left"]["held_back"]["cap"] == 0


def test_triggers_when_asked_again_then_what_was_planned_is_not_sent_twice(
    features: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    box, key = tmp_path / "sent", tmp_path / "key"  # the first file makes the directory
    KeyRing.create(key)
    to = [
        "--pseudonyms_for",
        "push service",
        "--key",
        key,
        "--sent",
        box,
        "--limits.caps",
        "[{messages: 9, window_days: 1}]",
    ]
    first = run(features, box / "a.csv", "--only", "cart_left", *to, capsys=capsys)
    named = pd.read_csv(box / "a.csv")
    assert "user_id" not in named
    KeyRing.rotate(key)
    assert KeyRing.load(key).holder(named["pseudonym"][0], AGREED, scope="push service") in AGREED
    assert (first["planned"], first["held_back"]["sent"]) == (4, 1)  # cem is within this cap
    again = run(features, box / "b.csv", *to, capsys=capsys)
    cart = again["by_trigger"]["cart_left"]
    assert (cart["planned"], cart["held_back"]["sent"]) == (0, 5)
    assert (again["planned"], again["sent_to_strangers"]) == (1, 0)  # ann's favourite


def test_triggers_when_consent_is_withdrawn_or_someone_is_erased_then_nobody_writes(
    features: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = ReleaseStore(root=tmp_path / "store")
    store.erasures.add("fay")
    newer = write_shop(
        tmp_path / "newer",
        shop=SHOP,
        consents=[
            {"user_id": user, "purpose": "personalisation", "granted": True, "at": pd.Timestamp("2024-06-06", tz="UTC")}
            for user in ("ann", "bob", "cem", "dot", "fay")
        ],
    )
    words = [features, tmp_path / "out.csv", "--only", "cart_left", "--consents", newer, "--store", store.root]
    said = run(*words, capsys=capsys)
    assert pd.read_csv(tmp_path / "out.csv")["user_id"].tolist() == ["ann", "cem"]  # cem was written to in 2024
    assert said["held_back"]["no_consent"] == 2  # eve, of whom the newer table says nothing, and fay
    wrong = run(features, tmp_path / "out.csv", "--only", "cart_lef", capsys=capsys, code=2)
    assert "Did you mean 'cart_left'?" in wrong["error"]
    assert "ends in .parquet or .csv" in run(features, tmp_path / "out.txt", capsys=capsys, code=2)["error"]
    nowhere = run(features, tmp_path / "out.csv", "--sent", tmp_path / "nowhere", capsys=capsys, code=3)
    assert "expected messages that `footfall triggers` planned" in nowhere["error"]


def test_triggers_when_asked_of_an_earlier_day_then_nothing_later_is_known(
    features: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--as_of", "2024-06-02", "--only", "cart_left", "--parameters", "{lead_days: 5}"]
    said = run(features, tmp_path / "out.csv", *words, capsys=capsys)
    assert (said["as_of"], said["open"]) == ("2024-06-02T21:59:59.999999+00:00", 0)  # 12 hours old
    assert "from 2024-05-30 to 2024-06-04" in run(
        features, tmp_path / "out.csv", "--as_of", "2024-07-01", capsys=capsys, code=3
    )["error"]  # fmt: skip
