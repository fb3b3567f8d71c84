"""Complements from baskets, and what gains ground: known answers, a slow reference, and what may not be known."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from features.build import FeatureSet, build_features
from features.contract.data_directory import write_data_directory
from features.engine import connect
from features.release.erasure import ErasedUsers, ErasureList
from features.settings import EngineSettings, ShopSettings
from features.splits import Split
from features.vocabulary import FIRST
from training.retrieval.surfaces import BoughtTogetherSettings, TrendingSettings, UsableRows, bought_together, trending
from training.retrieval.surfaces.settings import DEFAULT_TOGETHER, DEFAULT_TREND

ENGINE = EngineSettings(threads=1)
START = pd.Timestamp("2024-03-01 12:00", tz="UTC")
DAY_US = 86_400_000_000


def row(user: str, kind: str, item: str, day: float, *, order: str | None = None, session: str | None = None) -> Any:
    return {
        "user_id": user,
        "event_type": kind,
        "ts": START + pd.Timedelta(days=day),
        "item_id": item,
        "order_id": order,
        "session_id": session,
    }


def baskets_of(content: Iterable[Iterable[str]], *, first_user: int = 0) -> list[Any]:
    """One customer and one order a basket, an hour apart."""
    return [
        row(f"u{number:05d}", "purchase", item, number / 24, order=f"o{number}")
        for number, items in enumerate(content, start=first_user)
        for item in items
    ]


class World:
    """A feature directory and the rows it was made from."""

    def __init__(self, root: Path, rows: list[Any], categories: dict[str, str] | None = None) -> None:
        events = pd.DataFrame(rows)
        events["event_id"] = [f"e{number}" for number in range(len(events))]
        events["quantity"] = 1
        named = sorted(set(events["item_id"]) | set(categories or {}))
        shelf = [(categories or {}).get(item) for item in named]
        items = pd.DataFrame({"item_id": named, "category": pd.Series(shelf, dtype=object), "title": named})
        tables = {"events": events, "items": items}
        write_data_directory(root / "data", tables, shop=ShopSettings(), source="test", engine=ENGINE)
        build_features(root / "data", root / "features", engine=ENGINE)
        self.features = FeatureSet.load(root / "features")
        self.root, self.rows = root, rows

    def everything(self) -> np.ndarray:
        return np.arange(FIRST, len(self.features.catalog))

    def together(
        self, settings: BoughtTogetherSettings = DEFAULT_TOGETHER, *, candidates: Any = None, **rows: Any
    ) -> pd.DataFrame:
        """Return the table with ids."""
        connection = connect(ENGINE, spill=self.root / "spill")
        UsableRows(features=self.features, **rows).define(connection)
        shown = self.everything() if candidates is None else candidates
        frame = bought_together(connection, self.features.catalog, candidates=shown, settings=settings)
        decode = self.features.vocabulary.decode
        return frame.assign(item=decode(frame["item_code"]), neighbour=decode(frame["neighbour_code"]))

    def trending(self, settings: TrendingSettings = DEFAULT_TREND, **rows: Any) -> pd.DataFrame:
        connection = connect(ENGINE, spill=self.root / "spill")
        usable = UsableRows(features=self.features, **rows)
        usable.define(connection)
        frame = trending(
            connection,
            self.features.catalog,
            candidates=self.everything(),
            as_of_us=usable.as_of_us,
            settings=settings,
        )
        return frame.assign(item=self.features.vocabulary.decode(frame["item_code"]))


def own(frame: pd.DataFrame, item: str) -> list[str]:
    """Neighbours that baskets speak for."""
    return frame.loc[(frame["item"] == item) & (frame["support"] > 0), "neighbour"].tolist()


def listed(frame: pd.DataFrame, item: str) -> list[str]:
    return frame.loc[frame["item"] == item, "neighbour"].tolist()


CATEGORIES = {"kettle": "home/kettles", "kettle2": "home/kettles", "tea": "food/tea", "milk": "food/milk"}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Kettles go with tea; milk goes with everything, as often as chance has it; two kettles are compared.

    240 baskets: milk is in half of every kind, and the pot of noise items makes the shop.
    """
    rng = np.random.default_rng(0)
    noise = [f"n{number}" for number in range(12)]
    content = []
    for number in range(240):
        items = set(rng.choice(noise, 2, replace=False))
        if number % 2 == 0:
            items.add("milk")
        if number % 12 < 2:
            items |= {"kettle" if number % 24 < 12 else "kettle2", *(["tea"] if number % 3 else [])}
        content.append(sorted(items))
    rows = baskets_of(content)
    for number in range(60):  # both kettles are looked at in a session, and now and then both are bought
        viewer, day = f"v{number:03d}", number / 24
        rows += [row(viewer, "view", item, day, session=f"s{number}") for item in ("kettle", "kettle2")]
        if number % 20 == 0:
            rows += [row(viewer, "purchase", item, day, order=f"b{number}") for item in ("kettle", "kettle2")]
    for number in range(60):
        viewer, day = f"w{number:03d}", number / 24
        rows += [row(viewer, "view", item, day, session=f"t{number}") for item in (noise[number % 12], "tea")]
    categories = CATEGORIES | {item: f"other/{item[-1]}" for item in noise}
    return World(tmp_path_factory.mktemp("kettles"), rows, categories)


def test_bought_together_when_a_complement_is_planted_then_it_leads_and_what_is_merely_popular_stays_out(shop):
    frame = shop.together()
    assert own(frame, "kettle")[0] == "tea"
    assert set(own(frame, "tea")) == {"kettle", "kettle2"}
    assert "milk" not in own(frame, "kettle")
    assert own(frame, "milk") == []


def test_bought_together_when_two_items_are_compared_and_one_is_bought_then_they_are_no_complements(shop):
    weak = BoughtTogetherSettings(min_evidence=0.0)
    assert "kettle2" not in own(shop.together(weak), "kettle")


def test_bought_together_when_read_then_scores_fall_items_are_distinct_and_never_the_item_itself(shop):
    frame = shop.together()
    assert (frame["item"] != frame["neighbour"]).all()
    assert not frame.duplicated(["item", "neighbour"]).any()
    assert (frame.groupby("item")["score"].diff().dropna() <= 0).all()
    assert frame["score"].between(0, 1).all()
    assert [frame[name].dtype.name for name in ("item_code", "neighbour_code", "score", "support", "lift")] == [
        "int32",
        "int32",
        "float32",
        "int32",
        "float32",
    ]


def test_bought_together_when_an_item_may_not_be_shown_then_it_keeps_its_list_but_stands_in_none(shop):
    tea = shop.features.vocabulary.code_of("tea")
    frame = shop.together(candidates=np.setdiff1d(shop.everything(), [tea]))
    assert "tea" not in set(frame["neighbour"])
    assert own(frame, "tea")[0] in ("kettle", "kettle2")


def test_bought_together_when_an_item_has_no_baskets_then_its_category_speaks_marked_by_support_0(tmp_path):
    rng = np.random.default_rng(1)
    content = [["kettle", "tea"] for _ in range(30)] + [
        list(rng.choice([f"n{number}" for number in range(10)], 2, replace=False)) for _ in range(100)
    ]
    categories = CATEGORIES | {"new kettle": "home/kettles"} | {f"n{number}": "other" for number in range(10)}
    frame = World(tmp_path, baskets_of(content), categories).together()
    new = frame[frame["item"] == "new kettle"]
    assert new["neighbour"].tolist() == ["tea"]
    assert new["support"].tolist() == [0]
    assert "kettle" not in listed(frame, "new kettle")  # of its own category: no complement


def test_bought_together_when_no_order_is_named_then_one_customers_local_day_is_a_basket(tmp_path):
    rows = []
    for number in range(20):
        rows += [row(f"a{number}", "purchase", "x", 0), row(f"a{number}", "purchase", "y", 0.2)]
        rows += [row(f"b{number}", "purchase", "x", 0), row(f"b{number}", "purchase", "z", 1)]
        rows += [row(f"c{number}", "purchase", "p", 0), row(f"c{number}", "purchase", "q", 0)]
    frame = World(tmp_path, rows).together()
    assert own(frame, "x") == ["y"]
    assert frame.loc[(frame["item"] == "x") & (frame["neighbour"] == "y"), "support"].tolist() == [20]


def test_bought_together_when_a_list_is_too_long_then_the_best_stay(shop):
    settings = BoughtTogetherSettings(max_neighbours=1, fill_to=2)
    frame = shop.together(settings)
    assert frame.groupby("item").size().max() <= 2
    assert frame[frame["support"] > 0].groupby("item").size().max() == 1
    assert own(frame, "kettle") == own(shop.together(), "kettle")[:1]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_bought_together_when_counted_slowly_then_the_same_pairs_scores_and_lifts(tmp_path, seed):
    rng = np.random.default_rng(seed)
    names = [f"i{number}" for number in range(8)]
    content = [list(rng.choice(names, rng.integers(1, 5), replace=False)) for _ in range(80)]
    content += [["i0", "i1"]] * 30
    categories = {name: f"c{number % 3}" for number, name in enumerate(names)}
    rows = baskets_of(content)
    for number in range(40):
        rows += [row(f"v{number}", "view", item, 1, session=f"s{number}") for item in rng.choice(names, 3)]
    settings = BoughtTogetherSettings(min_evidence=0.5, prior_baskets=3.0, fill_to=0)
    frame = World(tmp_path, rows, categories).together(settings)
    expected = slow_table(content, rows, categories, settings)
    columns = frame[["item", "neighbour", "score", "support", "lift"]]
    found = {(a, b): values for a, b, *values in columns.itertuples(index=False)}
    assert found.keys() == expected.keys()
    assert expected
    for pair, values in expected.items():
        assert found[pair] == pytest.approx(list(values), rel=1e-4)


def slow_table(content: Any, rows: Any, categories: Any, settings: BoughtTogetherSettings) -> dict[Any, Any]:
    """The formulas of the module's docstring, one loop each."""
    baskets = [set(items) for items in content if len(set(items)) > 1]
    support: Counter[Any] = Counter()
    votes: Counter[Any] = Counter()
    voters: Counter[Any] = Counter()
    for items in baskets:
        for item in items:
            voters[item] += 1
        for pair in permutations(items, 2):
            support[pair] += 1
            votes[pair] += 1 / (len(items) - 1)
    sessions: dict[str, set[str]] = {}
    for event in rows:
        if event["event_type"] == "view":
            sessions.setdefault(event["session_id"], set()).add(event["item_id"])
    views: Counter[Any] = Counter(
        pair for items in sessions.values() if len(items) > 1 for pair in combinations(sorted(items), 2)
    )
    rate = sum(support[pair] for pair in views) / sum(views.values())
    total, all_votes = len(baskets), sum(voters.values())

    def alike(shelf: str) -> float:
        inside = [item for item in voters if categories[item] == shelf]
        seen = sum(support[pair] for pair in permutations(inside, 2))
        chance = sum(voters[a] * voters[b] / total for a, b in permutations(inside, 2))
        return max(1.0, (seen + 1) / (chance + 1))

    kept = {}
    for (a, b), count in support.items():
        null = voters[a] * voters[b] / total
        if categories[a] == categories[b]:
            null *= alike(categories[a])
        evidence = 2 * (count * math.log(count / null) - count + null)
        browsing = rate * views[tuple(sorted((a, b)))]
        if count >= settings.min_support and count > max(null, browsing) and evidence >= settings.min_evidence:
            of_shelf = [item for item in voters if categories[item] == categories[a]]
            share, m = voters[b] / all_votes, settings.prior_baskets
            shelf = (sum(votes[item, b] for item in of_shelf) + m * share) / (sum(voters[i] for i in of_shelf) + m)
            score = (votes[a, b] + m * shelf) / (voters[a] + m)
            kept[a, b] = (score, count, score / share)
    return kept


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
    build_features(root / "data2", root / "features2", engine=ENGINE)
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
