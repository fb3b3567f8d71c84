"""A shop where each customer buys item n + 1 the day after item n, and parts that know this of some of the items."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import onnx
import pandas as pd
from onnx import TensorProto, helper, numpy_helper

from features.build import FeatureSet
from features.contract.data_directory import write_data_directory
from features.release import Part, ReleaseStore, layout, write_part
from features.settings import EngineSettings, ShopSettings
from features.vocabulary import FIRST, Vocabulary
from tests.features.model_features import build_model_features
from training.retrieval.fit import RESULT_FILE

NUM_ITEMS, NUM_USERS = 30, 60
DAY_US = 86_400_000_000
CONFIG: dict[str, Any] = {
    "seed": 0,
    "exclude_seen": False,
    "schedule": {"learning_rate": 0.004, "threads": 1},
    "split": {
        "protocol": "auto",
        "validation_days": 5,
        "test_days": 5,
        "target_event_types": ["purchase"],
    },
}


def build(root: Path, *, days: int, new_item: bool = False) -> Path:
    """Features of ``days`` days; with ``new_item`` the codes of all items move by one."""
    user, day = (grid.ravel() for grid in np.meshgrid(np.arange(NUM_USERS), np.arange(days), indexing="ij"))
    ids = [f"i{number:02d}" for number in (user + day) % NUM_ITEMS]
    if new_item:
        ids[0] = "a-new"
    events = pd.DataFrame(
        {
            "user_id": [f"u{number:02d}" for number in user],
            "event_type": "purchase",
            "ts": pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(day, "D") + pd.to_timedelta(user, "m"),
            "item_id": ids,
            "quantity": 1,
            "price": 100,
            "event_id": [f"e{number}" for number in range(len(user))],
        }
    )
    items = pd.DataFrame({"item_id": sorted(set(ids))})
    engine = EngineSettings(threads=1)
    tables = {"events": events, "items": items}
    write_data_directory(root / "data", tables, shop=ShopSettings(), source="test", engine=engine)
    build_model_features(root / "data", root / "features", engine=engine)
    return root / "features"


def table_of(vocabulary: Vocabulary, knows: float) -> np.ndarray:
    """Scores of every next item after every item, ``[V, V]``: of a share of the items, the right one is first."""
    codes = vocabulary.encode([f"i{number:02d}" for number in range(NUM_ITEMS)])
    number = np.arange(NUM_ITEMS)
    table = np.zeros((len(vocabulary), len(vocabulary)), np.float32)
    table[np.ix_(codes, codes)] = 0.01 * (
        (number[None, :] * 7 + number[:, None] * 3) % 32
    )  # what is not known, by rote
    follows = np.where(number < knows * NUM_ITEMS, number + 1, number + 15) % NUM_ITEMS
    table[codes, codes[follows]] = 1.0
    table[:, :FIRST] = 0
    return table


def config(**changes: Any) -> dict[str, Any]:
    """The settings of a training; ``schedule={...}`` and ``split={...}`` change what they name."""
    values = copy.deepcopy(CONFIG)
    for name, value in changes.items():
        values[name] = {**values[name], **value} if isinstance(value, Mapping) else value
    return values


def train(
    store: Path,
    features: Path,
    run_id: str,
    *,
    knows: float,
    settings: Mapping[str, Any] | None = None,
    evaluated: bool = True,
) -> Part:
    """Write what a training leaves: an evaluated part, a part from all data, and where its features stand."""
    found, settings = FeatureSet.load(features), settings or config()
    end_us = int(found.sequences.ts.max()) + 1
    test_from_us = end_us - settings["split"]["test_days"] * DAY_US
    fit_until_us = test_from_us - settings["split"]["validation_days"] * DAY_US
    table = table_of(found.vocabulary, knows)
    if evaluated:
        about = {"trained_on": "fit", "as_of_us": fit_until_us, "seen_until_us": test_from_us}
        _write(store / "runs" / run_id / "evaluated", found, run_id, table, about | {"config": dict(settings)})
    about = {"trained_on": "all", "as_of_us": end_us, "seen_until_us": end_us, "steps": 7}
    part = _write(store, found, run_id, table, about | {"config": dict(settings)})
    result = store / "runs" / run_id / RESULT_FILE
    result.parent.mkdir(parents=True, exist_ok=True)
    result.write_text(f'{{"features": "{features}"}}')
    return part


def _write(root: Path, found: FeatureSet, run_id: str, table: np.ndarray, about: Mapping[str, Any]) -> Part:
    vocabulary = found.vocabulary
    with write_part(root, "retrieval", data_fingerprint=found.fingerprint, run_id=run_id) as draft:
        directory = draft.directory
        vectors = np.eye(len(vocabulary), dtype=np.float32)
        np.save(directory / layout.ITEM_VECTORS, vectors)
        candidates = np.arange(FIRST, len(vocabulary))
        index = faiss.IndexIDMap2(faiss.IndexFlatIP(len(vocabulary)))
        index.add_with_ids(vectors[candidates], candidates)
        faiss.write_index(index, str(directory / layout.INDEX))
        onnx.save(_tower(table), str(directory / layout.USER_TOWER))
        vocabulary.save(directory / layout.VOCABULARY)
        found.catalog.save(directory / layout.CATALOG)
        favourites = pd.DataFrame({"item_code": candidates[:3], "score": [3.0, 2.0, 1.0], "category": ""})
        favourites.to_parquet(directory / layout.FAVOURITES, index=False)
        draft.about.update(max_length=10, event_types=["purchase", "view"], num_price_bands=5, **about)
    part = ReleaseStore(root=root).part_of_run("retrieval", run_id)
    assert part is not None
    return part


def _tower(table: np.ndarray) -> onnx.ModelProto:
    """``user_vecs`` is the table's row of the last item."""
    names = ("item", "event_type", "gap", "price_band")
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"]) for name in names]
    output = helper.make_tensor_value_info("user_vecs", TensorProto.FLOAT, ["batch", table.shape[1]])
    nodes = [
        helper.make_node("Gather", ["item", "end"], ["last"], axis=1),
        helper.make_node("Gather", ["table", "last"], ["user_vecs"], axis=0),
    ]
    constants = [numpy_helper.from_array(table, "table"), numpy_helper.from_array(np.array(-1), "end")]
    graph = helper.make_graph(nodes, "tower", inputs, [output], initializer=constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
