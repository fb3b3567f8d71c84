"""Each built-in mapping on rows shaped like the real files, and the language on a shop's own."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

from features.errors import ConfigError, DataError
from features.settings import EngineSettings, ShopSettings
from features.sources.importer import import_source

ENGINE = EngineSettings(memory_limit="512MB", threads=1)

GA4 = [
    {
        "event_date": "20210101",
        "event_timestamp": "1609459200000001",
        "event_name": "purchase",
        "event_params": [{"key": "ga_session_id", "value": {"string_value": None, "int_value": "77"}}],
        "user_id": "u1",
        "user_pseudo_id": "p.1",
        "platform": "WEB",
        "geo": {"country": "Germany", "region": "Bavaria"},
        "collected_traffic_source": {"manual_source": "news", "manual_medium": "email"},
        "ecommerce": {"transaction_id": "T1"},
        "items": [
            {"item_id": "A", "item_name": "Mug", "price": 12.3, "quantity": "2", "item_category": "Home", "item_category2": "Mugs"},
            {"item_id": "B", "item_name": "Tea", "price": 5.0, "quantity": "1", "item_brand": "Leaf"},
        ],
    },
    {"event_timestamp": "1609459100000001", "event_name": "view_item", "user_pseudo_id": "p.1",
     "items": [{"item_id": "A", "item_name": "Old mug", "price": 10.0}]},
    {"event_timestamp": "1609459100000002", "event_name": "begin_checkout", "user_pseudo_id": "p.1",
     "items": [{"item_id": "A"}, {"item_id": "B"}]},
    {"event_timestamp": "1609459100000003", "event_name": "view_search_results", "user_pseudo_id": "p.1",
     "event_params": [{"key": "search_term", "value": {"string_value": "mug"}}], "items": []},
    {"event_timestamp": "1609459100000004", "event_name": "page_view", "user_pseudo_id": "p.1", "items": []},
    {"event_timestamp": "1609459100000005", "event_name": "add_to_cart", "user_pseudo_id": "p.1", "items": []},
]  # fmt: skip

SEGMENT = [
    {
        "type": "track",
        "event": "Order Completed",
        "userId": "u",
        "anonymousId": "a",
        "messageId": "m1",
        "timestamp": "2024-01-02T03:04:05.678Z",
        "context": {"campaign": {"source": "google", "medium": "cpc", "name": "spring"}},
        "properties": {
            "order_id": "o1",
            "coupon": "MAY",
            "products": [
                {"product_id": "p1", "name": "Monopoly", "price": 19.99, "quantity": 1, "category": "Games"},
                {"sku": "p2", "price": "free", "quantity": 2},
            ],
        },
    },
    {"event": "Product Viewed", "anonymousId": "a", "messageId": "m2", "timestamp": "2024-01-02T03:04:06Z",
     "properties": {"product_id": "p1", "name": "Monopoly!", "price": 18.99}},
    {"event": "Products Searched", "anonymousId": "a", "messageId": "m3", "timestamp": "2024-01-02T03:04:07Z",
     "properties": {"query": 'board "games"'}},
    {"event": "Product Viewed", "anonymousId": "a", "messageId": "m2", "timestamp": "2024-01-02T03:04:06Z",
     "properties": {"product_id": "p1", "price": 18.99}},
    {"event": "Product View", "anonymousId": "a", "messageId": "m4", "timestamp": "2024-01-02T03:04:08Z", "properties": {}},
]  # fmt: skip

MAPPING = """
tables:
  events:
    columns:
      user_id: who
      event_type: {from: what, values: {click: view}}
      ts: {from: at, unit: epoch_ms}
      item_id: {from: [sku, article]}
      price: {from: price, unit: major}
      channel: {constant: web}
"""


def lines(path: Path, rows: Iterable[dict[str, Any]], *more: str) -> Path:
    path.write_text("\n".join([*map(json.dumps, rows), *more]) + "\n", encoding="utf-8")
    return path


def import_into(out: Path, src: Path, mapping: str, *, minor_units: int = 100) -> dict[str, Any]:
    shop = ShopSettings(minor_units=minor_units)
    return import_source(src, out, mapping=mapping, shop=shop, engine=ENGINE)["tables"]


def table(out: Path, name: str) -> pd.DataFrame:
    return pd.read_parquet(out / f"{name}.parquet")


def rejects(out: Path, name: str) -> list[tuple[str, dict[str, Any]]]:
    frame = pd.read_parquet(out / "rejects" / f"{name}.parquet")
    return [(reason, json.loads(content)) for reason, content in zip(frame["reason"], frame["content"], strict=True)]


def own_mapping(tmp_path: Path, text: str = MAPPING) -> str:
    (tmp_path / "own.yaml").write_text(text)
    return str(tmp_path / "own.yaml")


def test_taobao_when_imported_then_events_items_and_rejects_add_up(tmp_path: Path) -> None:
    src = tmp_path / "UserBehavior.csv"
    src.write_text(
        "1,2268318,2520377,pv,1511658000\n1,2333346,2520771,fav,1511658001\n1,2576651,149192,buy,1511658002\n"
        "2,2268318,2520378,cart,1511658003\nnot a line\n2,5,6,swipe,1511658004\n2,5,6,pv,100\n2,7,6,pv,\n"
    )
    counts = import_into(tmp_path / "out", src, "taobao")
    assert (counts["events"]["accepted"], counts["events"]["rejected"]) == (4, 4)
    events = table(tmp_path / "out", "events")
    assert events["event_type"].tolist() == ["view", "favorite", "purchase", "cart"]
    assert events["ts"][0] == pd.Timestamp("2017-11-26 01:00:00", tz="UTC")  # 1511658000 / 86400 = 17496.04 days
    reasons = rejects(tmp_path / "out", "events")
    assert "found 'swipe'" in reasons[0][0]
    assert "found '1970-01-01 00:01:40+00 (outside 2017-11-24T16:00:00Z" in reasons[1][0]
    assert reasons[2][0].startswith("ts: expected an instant")
    assert reasons[3][1]["unreadable line"] == "not a line"
    items = table(tmp_path / "out", "items").set_index("item_id")["category"]
    assert items["2268318"] == "2520378"  # the later of two
    assert set(items.index) == {"2268318", "2333346", "2576651", "5", "7"}


def test_retailrocket_when_imported_then_one_act_logged_twice_is_one_event(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "category_tree.csv").write_text("categoryid,parentid\n1016,213\n")
    (tmp_path / "src" / "events.csv").write_text(
        "timestamp,visitorid,event,itemid,transactionid\n1433221332117,257597,view,355908,\n"
        "1433221332117,257597,view,355908,\n1433222276276,121688,transaction,15335,11117\n1433222276277,121688,addtocart,,\n"
    )
    counts = import_into(tmp_path / "out", tmp_path / "src", "retailrocket")["events"]
    assert (counts["accepted"], counts["rejected"], counts["duplicates"]) == (2, 1, 1)
    events = table(tmp_path / "out", "events")
    assert events["ts"][0] == pd.Timestamp("2015-06-02 05:02:12.117", tz="UTC")
    assert events["order_id"].tolist()[1] == "11117"
    assert [reason for reason, _ in rejects(tmp_path / "out", "events")] == [
        "duplicate of row 1",
        "item_id: expected an item for event_type 'cart', found nothing",
    ]


def check_ga4(out: Path, counts: dict[str, Any]) -> None:
    events = table(out, "events")
    assert events["event_type"].tolist() == ["purchase", "purchase", "view", "checkout", "search"]
    assert events["item_id"].tolist()[:3] == ["A", "B", "A"]
    assert events["price"].tolist()[:3] == [1230, 500, 1000]
    assert events["quantity"].tolist()[:2] == [2, 1]
    assert events["user_id"].tolist() == ["u1", "u1", "p.1", "p.1", "p.1"]
    assert events["session_id"][0] == "p.1-77"
    assert events["session_id"].isna().tolist() == [False, False, True, True, True]
    assert events["ts"][0] == pd.Timestamp("2021-01-01 00:00:00.000001", tz="UTC")
    assert (events["order_id"][0], events["region"][0], events["medium"][0]) == ("T1", "Bavaria", "email")
    assert events["query"][4] == "mug"
    assert events["event_id"].is_unique
    assert counts["events"]["reasons"] == {"event_type": 1, "item_id": 1}
    items = table(out, "items").set_index("item_id")
    assert items.loc["A", ["title", "category", "price"]].tolist() == ["Mug", "Home/Mugs", 1230]
    assert items.loc["B", "brand"] == "Leaf"
    assert table(out, "identities")[["id_a", "id_b"]].to_numpy().tolist() == [["p.1", "u1"]]


def test_ga4_when_json_lines_then_each_item_of_an_item_event_is_one_event(tmp_path: Path) -> None:
    src = lines(tmp_path / "events.jsonl", GA4, "")
    check_ga4(tmp_path / "out", import_into(tmp_path / "out", src, "ga4"))


def test_ga4_when_parquet_then_the_rows_are_the_same_as_from_json_lines(tmp_path: Path) -> None:
    src = lines(tmp_path / "events.jsonl", GA4)
    duckdb.connect().execute(f"COPY (FROM read_json('{src}')) TO '{tmp_path}/events.parquet' (FORMAT parquet)")
    check_ga4(tmp_path / "out", import_into(tmp_path / "out", tmp_path / "events.parquet", "ga4"))
    import_into(tmp_path / "json", src, "ga4")
    pd.testing.assert_frame_equal(table(tmp_path / "out", "events"), table(tmp_path / "json", "events"))


def test_segment_when_imported_then_orders_spread_and_broken_rows_say_why(tmp_path: Path) -> None:
    src = lines(tmp_path / "track.json", SEGMENT, "{not json")
    counts = import_into(tmp_path / "out", src, "segment")
    assert (counts["events"]["accepted"], counts["events"]["rejected"], counts["events"]["duplicates"]) == (3, 3, 1)
    events = table(tmp_path / "out", "events")
    assert events["event_type"].tolist() == ["purchase", "view", "search"]
    assert events.loc[0, ["user_id", "item_id", "price", "order_id", "coupon_id", "medium"]].tolist() == [
        "u", "p1", 1999, "o1", "MAY", "cpc",
    ]  # fmt: skip
    assert events["query"][2] == 'board "games"'
    found = rejects(tmp_path / "out", "events")
    assert found[0][0] == "price: expected a whole number of minor units >= 0, found 'free'"
    assert found[1][0] == "duplicate of row 3"
    assert "found 'Product View'" in found[2][0]
    assert found[3][1]["unreadable line"] == "{not json"
    assert table(tmp_path / "out", "items")["title"].isna().tolist() == [True]  # its latest event had none
    assert table(tmp_path / "out", "identities")["id_b"].tolist() == ["u"]


def test_own_mapping_when_several_zipped_files_then_all_are_read_in_order(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    for day, sku in (("1", "x"), ("2", "y")):
        text = f"who,what,at,sku,article,price\nann,click,1704067200000,{sku},,12.345\nbob,purchase,1704067200001,,{sku}2,1.1\n"
        (tmp_path / "src" / f"day{day}.csv.gz").write_bytes(gzip.compress(text.encode()))
    counts = import_into(tmp_path / "out", tmp_path / "src", own_mapping(tmp_path))
    assert counts["events"]["accepted"] == 4
    events = table(tmp_path / "out", "events")
    assert events["item_id"].tolist() == ["x", "x2", "y", "y2"]
    assert events["price"].tolist() == [1235, 110, 1235, 110]  # 12.345 is 1234.5 cents, rounded up
    assert set(events["channel"]) == {"web"}


def test_own_mapping_when_currency_has_no_minor_unit_then_major_money_stays(tmp_path: Path) -> None:
    src = lines(
        tmp_path / "log.jsonl", [{"who": "ann", "what": "click", "at": 1704067200000, "sku": "x", "price": "980"}]
    )
    import_into(tmp_path / "out", src, own_mapping(tmp_path), minor_units=1)
    events = table(tmp_path / "out", "events")
    assert events["price"].tolist() == [980]
    assert events["ts"].tolist() == [pd.Timestamp("2024-01-01", tz="UTC")]


def test_own_mapping_when_column_is_missing_then_error_suggests_one_unless_optional(tmp_path: Path) -> None:
    src = tmp_path / "log.csv"
    src.write_text("who,what,at,sku,prise\nann,click,1704067200000,x,1\n")
    with pytest.raises(DataError, match=r"Expected a source column 'article', found who, what, at, sku, prise"):
        import_into(tmp_path / "out", src, own_mapping(tmp_path))
    assert not (tmp_path / "out").exists()
    optional = MAPPING.replace("{from: [sku, article]}", "{from: [sku, article], optional: true}")
    with pytest.raises(DataError, match=r"Expected a source column 'price'.*Did you mean 'prise'"):
        import_into(tmp_path / "out", src, own_mapping(tmp_path, optional))
    optional = optional.replace("from: price", "from: prise")
    assert import_into(tmp_path / "out", src, own_mapping(tmp_path, optional))["events"]["accepted"] == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.csv", "out", "own.yaml"]


def test_import_when_source_does_not_fit_then_error_says_what_was_expected(tmp_path: Path) -> None:
    mapping = own_mapping(tmp_path)
    with pytest.raises(DataError, match="expected a file or a directory, found none"):
        import_into(tmp_path / "out", tmp_path / "nowhere", mapping)
    (tmp_path / "src").mkdir()
    with pytest.raises(DataError, match=r"expected files that match '\*'.*for the table events, found none"):
        import_into(tmp_path / "out", tmp_path / "src", mapping)
    (tmp_path / "src" / "a.csv").write_text("who\n")
    (tmp_path / "src" / "a.json").write_text("{}\n")
    with pytest.raises(DataError, match=r"Expected files of one format"):
        import_into(tmp_path / "out", tmp_path / "src", mapping)
    (tmp_path / "a.parquet").write_text("no parquet")
    with pytest.raises(DataError, match="expected a readable parquet file"):
        import_into(tmp_path / "out", tmp_path / "a.parquet", mapping)
    two = MAPPING.replace("    columns:\n", "    files: log.csv\n    columns:\n")
    two += "  items: {files: items.csv, columns: {item_id: sku}}\n"
    with pytest.raises(ConfigError, match=r"expected a directory with the mapping's files items\.csv, log\.csv"):
        import_into(tmp_path / "out", tmp_path / "a.parquet", own_mapping(tmp_path, two))
