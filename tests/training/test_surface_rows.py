"""Which rows the surface tables may be made from; and what gains ground."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from features.build import FeatureSet
from features.contract.data_directory import write_data_directory
from features.engine import connect
from features.release.erasure import ErasedUsers, ErasureList
from features.settings import ShopSettings
from features.splits import Split
from tests.features.model_features import build_model_features
from tests.training.surface_world import ENGINE, START, World, baskets_of, own, row
from training.retrieval.surfaces import BoughtTogetherSettings, TrendingSettings, UsableRows


def test_tables_when_events_after_the_cut_off_change_then_nothing_changes(tmp_path):
    rng = np.random.default_rng(3)
    names = [f"i{number}" for number in range(6)]
    past = baskets_of([list(rng.choice(names, 3, replace=False)) for _ in range(60)] + [["i0", "i1"]] * 10)
    cut_us = int((START + pd.Timedelta(days=5)).value // 1_000)
    worlds = []
    for seed in (4, 5):
        future = np.random.default_rng(seed)
        later = [
            row(f"u{day // 3:05d}", "purchase", future.choice(names), 5 + day / 10, order=f"late{day // 3}")
            for day in range(60)
        ]
        worlds.append(World(tmp_path / str(seed), past + later, {name: f"c/{name}" for name in names}))
    settings = BoughtTogetherSettings(min_evidence=0.5)
    first, second = (world.together(settings, as_of_us=cut_us) for world in worlds)
    ids = ["item", "neighbour", "score", "support", "lift"]
    pd.testing.assert_frame_equal(*(f[ids].sort_values(ids[:2]).reset_index(drop=True) for f in (first, second)))
    assert len(first)
    assert not first[ids].equals(worlds[0].together(settings)[ids])
    rising = [world.trending(as_of_us=cut_us)[["item", "score"]] for world in worlds]
    pd.testing.assert_frame_equal(*rising)


def test_usable_rows_when_the_split_is_leave_one_out_then_each_customers_last_two_events_are_unknown(tmp_path):
    rows = [row("u", "purchase", item, day, order=f"o{day}") for day, item in enumerate(["a", "b", "c", "d"])]
    rows += [row("short", "purchase", item, 9, order="s") for item in ("a", "b")]
    features = World(tmp_path, rows).features
    split = Split.leave_one_out(features.sequences)
    usable = UsableRows.of(features, erased=ErasedUsers(), as_of_us=0, held_out=split.validation)
    connection = connect(ENGINE, spill=tmp_path / "spill")
    usable.define(connection)
    found = connection.sql("SELECT user_id, item FROM usable ORDER BY 1, ts_us, 2").fetchall()
    code = features.vocabulary.code_of
    expected = [("short", code("a")), ("short", code("b")), ("u", code("a")), ("u", code("b"))]
    assert sorted(found) == sorted(expected)


def test_tables_when_customers_are_erased_then_they_teach_nothing(tmp_path):
    rows = baskets_of([["x", "y"]] * 20) + baskets_of([["p", "q"], ["p", "r"]] * 10, first_user=20)
    world = World(tmp_path, rows)
    erasures = ErasureList(path=tmp_path / "erasures.jsonl")
    for number in range(20):
        erasures.add(f"u{number:05d}")
    erased = erasures.load()
    assert own(world.together(), "x") == ["y"]
    assert own(world.together(erased=erased), "x") == []
    assert "x" not in set(world.trending(TrendingSettings(prior_visitors=0.01), erased=erased)["item"])


def test_tables_when_consent_is_withdrawn_then_those_rows_do_not_count(tmp_path):
    rows = baskets_of([["x", "y"]] * 20 + [["p", "q"]] * 20 + [["r", "s"]] * 20)
    root = tmp_path
    world = World(root, rows)
    consents = pd.DataFrame(
        {
            "user_id": [f"u{number:05d}" for number in range(60)],
            "purpose": "personalisation",
            "granted": [number >= 20 for number in range(60)],
            "at": START - pd.Timedelta(days=1),
        }
    )
    tables = {name: pd.read_parquet(root / "data" / f"{name}.parquet") for name in ("events", "items")}
    write_data_directory(
        root / "data2", tables | {"consents": consents}, shop=ShopSettings(), source="test", engine=ENGINE
    )
    build_model_features(root / "data2", root / "features2", engine=ENGINE)
    world.features = FeatureSet.load(root / "features2")
    frame = world.together()
    assert own(frame, "x") == []
    assert own(frame, "p") == ["q"]


def test_trending_when_an_item_rises_then_it_leads_and_steady_or_tiny_ones_do_not(tmp_path):
    rows = []
    for day in range(60):
        rows += [row(f"s{day}-{n}", "view", "steady", day) for n in range(10)]
        rows += [row(f"r{day}-{n}", "view", "riser", day) for n in range(2 if day < 53 else 10)]
        rows += [row(f"f{day}-{n}", "view", "faller", day) for n in range(8 if day < 53 else 1)]
        rows += [row("robot", "view", "robot", day + n / 1000) for n in range(40 if day == 59 else 0)]
    rows.append(row("one", "view", "tiny", 59))
    frame = World(tmp_path, rows, {"riser": "a/b", "steady": "a/c"}).trending()
    assert frame["item"].iloc[0] == "riser"
    assert frame["category"].iloc[0] == "a/b"
    assert (np.diff(frame["score"]) <= 0).all()
    assert "faller" not in set(frame["item"])
    score = frame.set_index("item")["score"]
    assert score.get("tiny", 0) < 0.1 * score["riser"]
    assert score.get("robot", 0) == pytest.approx(score.get("tiny", 0), rel=0.05)  # one customer counts once a day


def test_trending_when_worked_by_hand_then_recent_times_log_of_shrunk_growth(tmp_path):
    rows = [row("a", "view", "x", 0), row("b", "view", "x", 7), row("c", "view", "y", 0)]
    settings = TrendingSettings(recent_days=7.0, usual_days=14.0, prior_visitors=1.0)
    as_of_us = int((START + pd.Timedelta(days=7)).value // 1_000) + 1  # a microsecond after the last
    frame = World(tmp_path, rows).trending(settings, as_of_us=as_of_us)
    # x: recent 1/2 + 1, usual 1/sqrt(2) + 1; y: recent 1/2, usual 1/sqrt(2); shop: 2 / (1 + sqrt(2))
    recent, usual, shop_rate = 1.5, 1 + 0.5**0.5, 2 / (1 + 2**0.5)
    expected = recent * math.log((recent + 1) / (usual * shop_rate + 1))
    assert frame["item"].tolist() == ["x"]
    assert frame["score"].iloc[0] == pytest.approx(expected, rel=1e-4)


def test_trending_when_a_category_is_crowded_then_each_keeps_its_best(tmp_path):
    rows = [row(f"u{n}-{day}", "view", f"i{n}", day) for n in range(6) for day in (0, 20, *[20 + n] * n)]
    world = World(tmp_path, rows, {f"i{n}": f"{'ab'[n % 2]}/x" for n in range(6)})
    frame = world.trending(TrendingSettings(max_items=1, prior_visitors=0.1))
    tops = frame["category"].str.split("/").str[0]
    assert tops.is_unique
