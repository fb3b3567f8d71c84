"""Which items go with an item: Footfall's table beside co-occurrence counts, plain lift, item-kNN and popularity."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from features.build import FeatureSet
from features.engine import private_connection
from features.release import layout
from features.settings import EngineSettings
from features.sources.synthetic.truth import rows_of
from training.evaluation.bootstrap import intervals, paired_difference
from training.retrieval.surfaces import UsableRows, write_surface_tables

Ints = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float64]

LENGTHS: Final = (1, 5, 10)
WIDTH: Final = max(LENGTHS)
MIN_EVENTS: Final = 5  # of an item that may be shown, for all models alike
MIN_TOGETHER: Final = 3  # baskets below which plain lift is left out: without it, it lists accidents alone
SHRINKAGE: Final = 10.0  # of item-kNN, as in training.evaluation.baselines
ENGINE: Final = EngineSettings(threads=1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Baskets:
    """Baskets before a cut-off, and the lists that each model makes of them.

    Args:
        features: a feature directory.
        as_of_us: the cut-off, 0 for all.
        lines: ``user_id, basket, item, ts_us`` of all purchases, those after the cut-off too.
        candidates: item codes that may be shown.
    """

    features: FeatureSet
    as_of_us: int
    lines: pd.DataFrame
    candidates: Ints

    @classmethod
    def of(cls, features: FeatureSet, *, as_of_us: int = 0) -> Baskets:
        """Read the baskets of a feature directory."""
        with (
            tempfile.TemporaryDirectory() as spill,
            private_connection(ENGINE, beside=Path(spill)) as connection,
        ):
            UsableRows(features=features).define(connection)
            lines = connection.sql("""
                SELECT DISTINCT user_id, coalesce(order_id, user_id || local_day) AS basket, item, min(ts_us) AS ts_us
                FROM usable WHERE event_type = 'purchase' GROUP BY ALL ORDER BY 1, 2, 3""").df()
        past = features.sequences.between(None, as_of_us or None)
        known = np.bincount(past.item, minlength=len(features.catalog)) >= MIN_EVENTS
        candidates = np.flatnonzero(known & features.catalog.available)
        return cls(features=features, as_of_us=as_of_us, lines=lines, candidates=candidates)

    @property
    def past(self) -> pd.DataFrame:
        """Lines before the cut-off."""
        return self.lines[self.lines["ts_us"] < self.as_of_us] if self.as_of_us else self.lines

    def lists(self, anchors: Ints) -> dict[str, Ints]:
        """Return the best ``WIDTH`` neighbours of each anchor by model, ``[A, WIDTH]``, -1 where a list is shorter."""
        baskets = _matrix(self.past, "basket", len(self.features.catalog))
        count = np.asarray(baskets.sum(axis=0)).ravel()
        together = (baskets[:, anchors].T @ baskets).tocsr()
        lift = together.copy()
        lift.data = np.where(lift.data >= MIN_TOGETHER, lift.data, 0) / np.maximum(count[lift.indices], 1)
        ours = self._table()
        return {
            "footfall": _table_lists(ours, anchors),
            "footfall, the item's own baskets alone": _table_lists(ours[ours["support"] > 0], anchors),
            "co-occurrence count": self._best(together, anchors),
            f"plain lift, at least {MIN_TOGETHER} baskets": self._best(lift, anchors),
            "item-kNN": self._best(self._cosine(anchors), anchors),
            "popularity": self._popular(count, anchors),
        }

    def _table(self) -> pd.DataFrame:
        rows = UsableRows(features=self.features, as_of_us=self.as_of_us)
        with tempfile.TemporaryDirectory() as directory:
            write_surface_tables(Path(directory), rows, candidates=self.candidates, engine=ENGINE)
            return pd.read_parquet(Path(directory) / layout.BOUGHT_TOGETHER)

    def _cosine(self, anchors: Ints) -> Any:
        """Cosine of binary customer columns, shrunk by support."""
        users = _matrix(self.past, "user_id", len(self.features.catalog))
        count = np.asarray(users.sum(axis=0)).ravel()
        shared = (users[:, anchors].T @ users).tocoo()
        norm = np.sqrt(count[anchors][shared.row] * count[shared.col])
        values = shared.data / norm * shared.data / (shared.data + SHRINKAGE)
        return sparse.csr_array((values, (shared.row, shared.col)), shape=shared.shape)

    def _popular(self, count: Floats, anchors: Ints) -> Ints:
        best = self.candidates[np.lexsort((self.candidates, -count[self.candidates]))][: WIDTH + 1]
        return np.array([best[best != anchor][:WIDTH] for anchor in anchors])

    def _best(self, scores: Any, anchors: Ints) -> Ints:
        shown = np.isin(np.arange(len(self.features.catalog)), self.candidates)
        best = np.full((len(anchors), WIDTH), -1)
        for row, anchor in enumerate(anchors):
            span = slice(scores.indptr[row], scores.indptr[row + 1])
            item, score = scores.indices[span], scores.data[span]
            kept = shown[item] & (item != anchor) & (score > 0)
            item, score = item[kept], score[kept]
            order = np.lexsort((item, -score))[:WIDTH]
            best[row, : len(order)] = item[order]
        return best


def planted_rows(features: FeatureSet, truth: Path, *, seed: int) -> list[dict[str, Any]]:
    """How many of the planted complements each model's lists hold, as a share of what the truth's own list holds."""
    planted = pd.read_parquet(truth / "complements.parquet")
    baskets = Baskets.of(features)
    code = {name: features.vocabulary.encode(planted[name]).astype(np.int64) for name in ("item_id", "partner_id")}
    partner = np.isin(code["partner_id"], baskets.candidates)  # what may not be shown, no list can hold
    anchor, wanted = code["item_id"][partner], code["partner_id"][partner]
    together = _joint(baskets.past, anchor, wanted)
    rows = []
    for model, lists in baskets.lists(anchor).items():
        hits = {f"share_of_truth@{k}": (lists[:, :k] == wanted[:, None]).any(axis=1) for k in LENGTHS}
        hits["share_of_truth@10, bought together 5 times"] = hits["share_of_truth@10"][together >= 5]
        rows.append(_row(model, hits, seed) | {"note": f"bought_together: {len(anchor)} items with a planted partner"})
    rows.append({"model": "truth", "metrics": {f"share_of_truth@{k}": 1.0 for k in LENGTHS}, "note": "bought_together"})
    return rows


def held_out_rows(features: FeatureSet, *, test_days: int, seed: int) -> list[dict[str, Any]]:
    """Whether an item's list holds the rest of a later basket; one basket a customer, one item of it asked."""
    last_us = int(features.sequences.ts.max())
    baskets = Baskets.of(features, as_of_us=last_us + 1 - test_days * 86_400_000_000)
    later = baskets.lines[baskets.lines["ts_us"] >= baskets.as_of_us]
    later = later[features.catalog.available[later["item"]]]
    later = later[later.groupby("basket")["item"].transform("size") > 1].sample(frac=1, random_state=seed)
    asked = later.drop_duplicates("user_id")  # a random line of a random basket of each customer
    rest = later.merge(asked[["basket", "item"]], on="basket", suffixes=("", "_asked"))
    rest = rest[rest["item"] != rest["item_asked"]]
    question = rows_of(rest["basket"], asked["basket"])
    anchors, where = np.unique(asked["item"].to_numpy(), return_inverse=True)
    size = np.bincount(question, minlength=len(asked))
    values = {}
    for model, lists in baskets.lists(anchors).items():
        listed = (lists[where][question] == rest["item"].to_numpy()[:, None]).any(axis=1)
        found = np.bincount(question, weights=listed, minlength=len(asked))
        values[model] = {"hit@10": found > 0, "recall@10": found / size}
    rows = []
    for model, hits in values.items():
        row = _row(model, hits, seed) | {"note": f"bought_together: {len(asked)} baskets, the rest of each asked for"}
        if model != "footfall":
            less = {
                name: paired_difference(1.0 * values["footfall"][name], 1.0 * hits[name], seed=seed) for name in hits
            }
            row["difference"] = {name: vars(interval) for name, interval in less.items()}
        rows.append(row)
    return rows


def _row(model: str, values: dict[str, Any], seed: int) -> dict[str, Any]:
    found = {name: intervals(np.asarray(hits, float)[:, None], seed=seed)[0] for name, hits in values.items()}
    return {
        "model": model,
        "metrics": {name: value.mean for name, value in found.items()},
        "interval": {name: [value.low, value.high] for name, value in found.items()},
    }


def _matrix(lines: pd.DataFrame, by: str, num_codes: int) -> Any:
    """Return the binary matrix of baskets or customers by item."""
    cells = lines[[by, "item"]].drop_duplicates()
    row = pd.factorize(cells[by])[0]
    return sparse.csr_array((np.ones(len(cells)), (row, cells["item"])), shape=(row.max() + 1, num_codes))


def _joint(lines: pd.DataFrame, first: Ints, second: Ints) -> Ints:
    """Return how many baskets hold both of each pair."""
    held = {item: set(rows) for item, rows in lines.groupby("item")["basket"]}
    return np.array([len(held.get(a, set()) & held.get(b, set())) for a, b in zip(first, second, strict=True)])


def _table_lists(table: pd.DataFrame, anchors: Ints) -> Ints:
    best = np.full((len(anchors), WIDTH), -1)
    by_item = table.groupby("item_code")["neighbour_code"].apply(lambda codes: codes.to_numpy()[:WIDTH])
    for row, anchor in enumerate(anchors):
        if anchor in by_item.index:
            best[row, : len(by_item[anchor])] = by_item[anchor]
    return best
