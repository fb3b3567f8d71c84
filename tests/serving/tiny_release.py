"""A small but real release: random unit vectors, a tower in ONNX, a FAISS index, customers and forecasts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import faiss
import numpy as np
import onnx
import pandas as pd
from onnx import TensorProto, helper, numpy_helper

from features.catalog import ItemCatalog
from features.chances.logistic import QuadraticLogit
from features.columns import EVENT_TYPE_CODES
from features.history import encode_history
from features.identity.map import IdentityMap
from features.release import Part, PartKind, Release, ReleaseStore, layout, write_part
from features.repeats.blend import NEW, REPEAT, ForYouBlend
from features.repeats.repurchase import HABIT, INTEREST, TIMING, RepurchaseModel
from features.sequences import Sequences
from features.vocabulary import FIRST, Vocabulary
from tests.serving.tiny_demand import write_alerts, write_plans
from tests.serving.tiny_rules import write_rules

EVENT_TYPES = ("view", "favorite", "cart", "purchase")
DAY_US = 86_400_000_000
START_US = 1_790_000_000_000_000
AS_OF_US = START_US + 60 * DAY_US  # histories end here
DAYS = 14


def plain_blend() -> ForYouBlend:
    """Chances of new items from 0.5% (cosine 0) to 42% (cosine 1); known ones keep theirs."""
    repeats = QuadraticLogit.plain(REPEAT, {"log_odds": 1.0})
    return ForYouBlend(
        new=QuadraticLogit.plain(NEW, {"cosine": 5.0}, bias=-5.3), repeat_timed=repeats, repeat_untimed=repeats
    )


@dataclass(frozen=True, kw_only=True)
class TinyRelease:
    """A store, its release, and the arrays that it was made from."""

    store: ReleaseStore
    release: Release
    vocabulary: Vocabulary
    catalog: ItemCatalog
    vectors: np.ndarray  # float32 [V, d]
    users: Vocabulary
    histories: Sequences  # in the retrieval vocabulary's codes

    def history_of(self, user_id: str) -> np.ndarray:
        row = self.users.code_of(user_id) - FIRST
        return self.histories.item[self.histories.offsets[row] : self.histories.offsets[row + 1]]

    def user_vec(self, sequences: Sequences, max_length: int = 50) -> np.ndarray:
        """The tower in numpy: a weighted mean of item vectors."""
        inputs = encode_history(sequences, max_length=max_length).padded()
        weight = 1 + inputs["gap"] / 16 + inputs["event_type"] / 32 + inputs["price_band"] / 8  # [B, L]
        total = (self.vectors[inputs["item"]] * weight[:, :, None]).sum(axis=1)
        return total / np.linalg.norm(total, axis=1, keepdims=True)


def build(
    root: Path,
    *,
    num_items: int = 200,
    num_users: int = 30,
    dim: int = 16,
    seed: int = 0,
    history_vocabulary_offset: int = 3,
    kinds: tuple[PartKind, ...] = ("retrieval", "customers", "demand"),
    index: str = "Flat",
    surfaces: bool = True,
    blend: ForYouBlend | None = None,
    repeat: str = "",
    plans: bool = True,
    links: IdentityMap | None = None,
) -> TinyRelease:
    """Write a release and make it current.

    With ``links`` some ids are one customer's. Without ``plans`` the demand part is one of before what-ifs and alerts.

    With ``surfaces`` the retrieval part holds the tables of every surface, and for the home page the
    ``blend`` and the shop's setting ``repeat`` where they are given.

    The histories' vocabulary is the retrieval one, rotated by ``history_vocabulary_offset`` items, so that
    codes differ.
    """
    rng = np.random.default_rng(seed)
    vocabulary = Vocabulary.from_ids([f"item-{number}" for number in range(num_items)])
    catalog = _catalog(vocabulary, rng)
    vectors = rng.standard_normal((len(vocabulary), dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[:FIRST] = 0
    users = Vocabulary.from_ids([f"user-{number}" for number in range(num_users)])
    histories = _histories(catalog, num_users, rng)
    store = ReleaseStore(root=root)
    tables = _surface_tables(catalog, histories) if surfaces else {}
    if blend is not None:
        tables[layout.BLEND] = blend.save
    about = {"repeat": repeat} if repeat else {}
    parts: dict[PartKind, Part] = {
        "retrieval": _retrieval_part(store, vocabulary, catalog, vectors, index, tables, about)
    }
    if "customers" in kinds:
        parts["customers"] = _customers_part(store, vocabulary, users, histories, history_vocabulary_offset, links)
    if "demand" in kinds:
        parts["demand"] = _demand_part(store, vocabulary, rng, plans=plans)
    release = store.create(parts)
    store.set_current(release.release_id)
    return TinyRelease(
        store=store,
        release=release,
        vocabulary=vocabulary,
        catalog=catalog,
        vectors=vectors,
        users=users,
        histories=histories,
    )


def _catalog(vocabulary: Vocabulary, rng: np.random.Generator) -> ItemCatalog:
    number = np.arange(len(vocabulary.ids))
    categories = np.array(["food/fruit", "food/bread", "home/lamps", "home/lamps/desk", "toys"], object)
    items = pd.DataFrame(
        {
            "item_id": vocabulary.ids,
            "title": [f"Thing number {n}" for n in number],
            "category": categories[number % 5],
            "brand": [f"brand-{n % 7}" for n in number],
            "price": rng.integers(100, 2000, len(number)),
            "active": number % 29 != 7,
            # Every tenth came in the last 20 days, the rest long before.
            "created_at": pd.to_datetime(
                AS_OF_US - np.where(number % 10 == 3, 1 + number // 10, 400) * DAY_US, unit="us"
            ),
        }
    )
    return ItemCatalog.from_items(items, vocabulary)


def _histories(catalog: ItemCatalog, num_users: int, rng: np.random.Generator) -> Sequences:
    lengths = rng.integers(1, 80, num_users)
    lengths[-2:] = 0  # customers without a history
    num_events = int(lengths.sum())
    item = rng.integers(FIRST, len(catalog), num_events)
    days = np.concatenate([np.sort(rng.integers(0, 60, length)) for length in lengths])
    return Sequences.from_arrays(
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        item=item,
        event_type=rng.choice([EVENT_TYPE_CODES[name] for name in EVENT_TYPES], num_events),
        ts=START_US + days * DAY_US,
        price_band=catalog.price_band[item],
    )


def _surface_tables(catalog: ItemCatalog, histories: Sequences) -> dict[str, Callable[[Path], None]]:
    """How to write each file of the surfaces, by its name.

    Item number n is bought with n + 1 (in 12 baskets), n + 5 (7) and n + 2 (3); number 50 with nothing, and number 60
    with its three through its category alone. Of the even numbers, the greatest gains most ground.
    """
    codes = np.arange(FIRST, len(catalog) - 5)
    codes = codes[codes != FIRST + 50]
    pairs = {
        "item_code": np.repeat(codes, 3),
        "neighbour_code": (codes[:, None] + [1, 5, 2]).reshape(-1),
        "score": np.tile([0.9, 0.5, 0.2], len(codes)),
        "support": np.tile([12, 7, 3], len(codes)),
        "lift": 2.0,
    }
    pairs["support"] = np.where(pairs["item_code"] == FIRST + 60, 0, pairs["support"])
    rising = np.arange(FIRST, len(catalog), 2)[::-1]
    trending = {"item_code": rising, "score": rising / 10, "category": catalog.category[rising]}
    # Chances by timing alone, so that what they are is plain: of a purchase today 5%, of one 20 days ago 51%.
    model = replace(
        RepurchaseModel.fit(histories, catalog, as_of_us=AS_OF_US),
        timed=QuadraticLogit.plain((*HABIT, *INTEREST, *TIMING), {"since_last": 1.0}, bias=-3.0),
        untimed=QuadraticLogit.plain((*HABIT, *INTEREST), {"again": 1.0}),
    )
    return {
        layout.BOUGHT_TOGETHER: lambda path: pd.DataFrame(pairs).to_parquet(path, index=False),
        layout.TRENDING: lambda path: pd.DataFrame(trending).to_parquet(path, index=False),
        layout.REPURCHASE: model.save,
    }


def _retrieval_part(  # noqa: PLR0917 - each array by its own name
    store: ReleaseStore,
    vocabulary: Vocabulary,
    catalog: ItemCatalog,
    vectors: np.ndarray,
    index: str,
    tables: dict[str, Callable[[Path], None]],
    about: dict[str, str],
) -> Part:
    with write_part(store.root, "retrieval", data_fingerprint="tiny") as draft:
        vocabulary.save(draft.directory / layout.VOCABULARY)
        catalog.save(draft.directory / layout.CATALOG)
        np.save(draft.directory / layout.ITEM_VECTORS, vectors)
        faiss.write_index(_index(vectors, index, catalog), str(draft.directory / layout.INDEX))
        onnx.save(tower_model(vectors), draft.directory / layout.USER_TOWER)
        codes = np.arange(FIRST, min(FIRST + 100, len(vocabulary)))
        favourites = {"item_code": codes, "score": 1 / codes, "category": catalog.category[codes]}
        pd.DataFrame(favourites).to_parquet(draft.directory / layout.FAVOURITES, index=False)
        for name, write in tables.items():
            write(draft.directory / name)
        draft.about.update(dim=vectors.shape[1], max_length=50, event_types=list(EVENT_TYPES), num_price_bands=5)
        draft.about.update(as_of_us=AS_OF_US, **about)
    return _newest(store, "retrieval")


def _index(vectors: np.ndarray, kind: str, catalog: ItemCatalog) -> faiss.Index:
    """Index what may be shown, as training does."""
    inner = faiss.index_factory(vectors.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
    index = faiss.IndexIDMap2(inner)
    codes = np.flatnonzero(catalog.available)
    inner.train(vectors[codes])
    index.add_with_ids(vectors[codes], codes)
    return index


def tower_model(vectors: np.ndarray) -> onnx.ModelProto:
    """A weighted mean of item vectors, unit length; PAD's vector is 0, so padding adds nothing."""
    names = ("item", "event_type", "gap", "price_band")
    constants = {
        "vectors": vectors,
        "one": np.float32(1),
        "gap_scale": np.float32(1 / 16),
        "event_type_scale": np.float32(1 / 32),
        "price_band_scale": np.float32(1 / 8),
        "last_axis": np.array([2], np.int64),
        "time_axis": np.array([1], np.int64),
    }
    nodes = [helper.make_node("Gather", ["vectors", "item"], ["item_vecs"])]  # [B, L, d]
    for name in names[1:]:
        nodes.append(helper.make_node("Cast", [name], [f"{name}_real"], to=TensorProto.FLOAT))
        nodes.append(helper.make_node("Mul", [f"{name}_real", f"{name}_scale"], [f"{name}_part"]))
    nodes += [
        helper.make_node("Sum", ["one", "gap_part", "event_type_part", "price_band_part"], ["weight"]),  # [B, L]
        helper.make_node("Unsqueeze", ["weight", "last_axis"], ["weights"]),
        helper.make_node("Mul", ["item_vecs", "weights"], ["weighted"]),
        helper.make_node("ReduceSum", ["weighted", "time_axis"], ["total"], keepdims=0),  # [B, d]
        helper.make_node("LpNormalization", ["total"], ["user_vecs"], axis=1, p=2),
    ]
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["B", "L"]) for name in names]
    output = helper.make_tensor_value_info("user_vecs", TensorProto.FLOAT, ["B", vectors.shape[1]])
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "tower", inputs, [output], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model


def _customers_part(  # noqa: PLR0917 - each by its own name
    store: ReleaseStore,
    vocabulary: Vocabulary,
    users: Vocabulary,
    histories: Sequences,
    offset: int,
    links: IdentityMap | None,
) -> Part:
    own = Vocabulary.from_ids(np.roll(vocabulary.ids, offset))
    item = own.encode(vocabulary.decode(histories.item))
    number = np.arange(len(users.ids))
    table = pd.DataFrame(
        {
            "user_id": users.ids,
            "lifecycle": np.array(["new", "active", "dormant"], object)[number % 3],
            "favourite_category": np.array(["food", "home", None], object)[number % 3],
            "monetary": np.where(number % 4 == 0, np.nan, number * 100.0),
            "average_basket": number * 50.0 + 4831.46,
            "last_purchase_at": pd.Timestamp("2026-11-01", tz="UTC"),
            "tag_vip": number % 2 == 0,
        }
    )
    with write_part(store.root, "customers", data_fingerprint="tiny") as draft:
        table.to_parquet(draft.directory / layout.CUSTOMERS, index=False)
        users.save(draft.directory / layout.USERS)
        if links is not None:
            links.save(draft.directory / layout.IDENTITIES)
        own.save(draft.directory / layout.HISTORY_VOCABULARY)
        own_sequences = Sequences.from_arrays(
            offsets=histories.offsets,
            item=item,
            event_type=histories.event_type,
            ts=histories.ts,
            price_band=histories.price_band,
        )
        own_sequences.save(draft.directory / layout.HISTORIES)
        write_rules(draft.directory, users=users, histories=histories, vocabulary=vocabulary, as_of_us=AS_OF_US)
        draft.about.update(as_of="2026-11-20T00:00:00+00:00", currency="EUR", minor_units=100)
    return _newest(store, "customers")


def _demand_part(store: ReleaseStore, vocabulary: Vocabulary, rng: np.random.Generator, *, plans: bool) -> Part:
    ids = np.repeat(vocabulary.ids[:20], DAYS)
    quantiles = np.sort(rng.gamma(2.0, 2.0, (len(ids), len(layout.QUANTILES))), axis=1)
    frame = pd.DataFrame({"item_id": ids, "day": np.tile(pd.date_range("2026-11-21", periods=DAYS), 20)})
    frame["mean"] = quantiles.mean(axis=1)
    for column, level in enumerate(layout.QUANTILES):
        frame[layout.quantile_column(level)] = quantiles[:, column]
    decisions = pd.DataFrame(
        {
            "item_id": vocabulary.ids[:20],
            "lead_time_days": 7,
            "lead_mean": 10.5,
            "reorder_point_90": np.arange(20) + 15.0,
            "reorder_point_95": np.arange(20) + 18.0,
            "safety_stock_90": 4.5,
            "safety_stock_95": 7.5,
        }
    )
    with write_part(store.root, "demand", data_fingerprint="tiny") as draft:
        frame.to_parquet(draft.directory / layout.FORECASTS, index=False)
        decisions.to_parquet(draft.directory / layout.DECISIONS, index=False)
        draft.about.update(as_of="2026-11-20", frequency="D", horizon=DAYS)
        if plans:
            write_plans(draft.directory, vocabulary.ids[:20], horizon=DAYS)
            write_alerts(draft.directory / layout.ALERTS)
            draft.about["alerts"] = {"notes": ["Alerts to reorder are absent: no stock."]}
            draft.about["settings"] = {"decisions": {"review_days": 3}}
            draft.about["assumptions"] = ["The announced plan ends on 2026-11-30."]
    return _newest(store, "demand")


def _newest(store: ReleaseStore, kind: PartKind) -> Part:
    part = store.latest_part(kind)
    assert part is not None
    return part
