"""Bring a part's items up to newer features between trainings: new ones are placed by their content, gone ones leave.

What was learned stays: towers, cells, habits, bestsellers. Item codes only grow, so that histories stay readable.
"""

from __future__ import annotations

import logging
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

from features.build import FeatureSet
from features.catalog import ItemCatalog
from features.columns import EVENT_TYPE_CODES
from features.errors import ConfigError, ReleaseError
from features.release import Part, ReleaseStore, layout, write_part
from features.repeats.repurchase import RepurchaseModel
from features.sequences import Sequences
from features.vocabulary import UNKNOWN, Vocabulary
from training.evaluation.champion import served_part
from training.retrieval.candidates import candidate_items
from training.retrieval.cell_update import update_cells
from training.retrieval.config import RetrievalConfig, TowerConfig
from training.retrieval.indexing import codes_of, warn_of, write_index
from training.retrieval.item_changes import ItemChanges, Placement, with_new_cycles, with_new_rows
from training.retrieval.lessons import remembered
from training.retrieval.recommender import run_exported

_MOST_USERS: Final = 2_000
_BLOCK: Final = 500_000
_LARGEST_IN_ONE_FILE: Final = 1_500_000_000  # bytes, as of training/retrieval/export.py
_WRITTEN: Final = (layout.VOCABULARY, layout.CATALOG, layout.ITEM_VECTORS, layout.USER_TOWER, layout.REPURCHASE)

Ints = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float32]
logger = logging.getLogger(__name__)


def refresh_items(features: Path, store: Path, *, retrieval: str = "", most_changed: float = 0.2) -> dict[str, Any]:
    """Write a new version of a retrieval part with the items of newer features.

    Args:
        features: newer feature directory of the same shop.
        store: release store.
        retrieval: version of the part; the one that is served where left out, else the newest.
        most_changed: share of the items at the last training that may have come or gone since; beyond, train.

    Returns:
        ``part, version, base, added, removed, num_items, changed_share, index``.

    Raises:
        ConfigError: the share is none.
        ReleaseError: there is no such part, or more has changed.
    """
    if not 0 < most_changed <= 1:
        raise ConfigError(f"most_changed: expected a share in (0, 1], found {most_changed}.")
    started = time.perf_counter()
    base, feature_set = _part(store, retrieval), FeatureSet.load(features)
    refresh = _Refresh.of(base, feature_set, store)
    counts = refresh.counts()
    if counts["changed_share"] > most_changed:
        raise ReleaseError(
            f"{base.version}: expected at most {most_changed:.0%} of the items to have changed since the training, found "
            f"{counts['changed_share']:.1%}; train again, or raise most_changed."
        )
    with write_part(Path(store), "retrieval", data_fingerprint=feature_set.fingerprint, run_id=base.run_id) as draft:
        index = refresh.write(draft.directory)
        draft.metrics.update(base.metrics)
        draft.about.update(dict(base.about) | {"index": index, "items": counts})
    part = ReleaseStore(root=Path(store)).latest_part("retrieval")
    assert part is not None
    logger.info(
        "items: %d added, %d removed, %d in the index, %.0f s",
        *(counts["added"], counts["removed"], len(refresh.candidates), time.perf_counter() - started),
    )
    return (
        {"part": str(part.directory), "version": part.version, "num_items": len(refresh.candidates)}
        | counts
        | {"index": index}
    )


def _part(store: Path, version: str) -> Part:
    releases = ReleaseStore(root=Path(store))
    part = releases.open_part("retrieval", version) if version else served_part(releases)
    part = part or releases.latest_part("retrieval")
    if part is None:
        raise ReleaseError(f"{store}: expected a retrieval part, found none; run `footfall train retrieval` first.")
    return part


@dataclass(frozen=True, kw_only=True, eq=False)
class _Refresh:
    """One part and the items that it is to have."""

    base: Part
    changes: ItemChanges
    config: RetrievalConfig
    before: Ints
    candidates: Ints
    asked: Sequences

    @classmethod
    def of(cls, base: Part, features: FeatureSet, store: Path) -> _Refresh:
        config = _config(base)
        changes = ItemChanges.between(
            Vocabulary.load(base.path(layout.VOCABULARY)),
            ItemCatalog.load(base.path(layout.CATALOG)),
            features.vocabulary,
            features.catalog,
        )
        sequences, _ = remembered(features, ReleaseStore(root=Path(store)).erasures.load())
        end_us = int(sequences.ts.max(initial=0)) + 1
        found = candidate_items(sequences, features.catalog, as_of_us=end_us, config=config)
        before = codes_of(base.path(layout.INDEX))
        return cls(
            base=base,
            changes=changes,
            config=config,
            before=before,
            candidates=changes.candidates(before, found),
            asked=_some(sequences, changes, base.about["event_types"]),
        )

    def counts(self) -> dict[str, Any]:
        """Return what came and went now, and since the last training."""
        added, removed = (
            len(np.setdiff1d(*pair))
            for pair in (
                (self.candidates, self.before),
                (self.before, self.candidates),
            )
        )
        earlier = self.base.about.get("items", {})
        at_training = int(earlier.get("at_training", len(self.before)))
        since = {
            "added_since_training": added + int(earlier.get("added_since_training", 0)),
            "removed_since_training": removed + int(earlier.get("removed_since_training", 0)),
        }
        counts = {"base": self.base.version, "added": added, "removed": removed, "at_training": at_training} | since
        return counts | {"changed_share": round(sum(since.values()) / max(1, at_training), 4)}

    def write(self, directory: Path) -> dict[str, Any]:
        """Write all files of the part; return what is known of the index."""
        changes = self.changes
        names = [name for name in self.base.files if name not in _WRITTEN and not name.startswith("index")]
        for name in names:
            if not name.startswith(layout.USER_TOWER):
                shutil.copyfile(self.base.path(name), directory / name)
        changes.vocabulary.save(directory / layout.VOCABULARY)
        changes.catalog.save(directory / layout.CATALOG)
        taught = np.setdiff1d(self.before, changes.new_codes)
        placement = Placement.of(changes.catalog, taught, num_title_buckets=self.config.tower.num_title_buckets)
        vecs = self._write_vectors(directory / layout.ITEM_VECTORS, placement)
        self._write_tower(directory / layout.USER_TOWER, placement)
        if layout.REPURCHASE in self.base.files:
            habits = RepurchaseModel.load(self.base.path(layout.REPURCHASE))
            with_new_cycles(habits, changes.catalog).save(directory / layout.REPURCHASE)
        queries = self._queries(directory / layout.USER_TOWER)
        if layout.INDEX_SEARCH not in self.base.files:
            return write_index(
                directory,
                vecs,
                self.candidates,
                flat_limit=self.config.flat_index_limit,
                queries=queries,
                least_recall=self.config.least_index_recall,
            )
        changed = update_cells(
            self.base.directory,
            directory,
            vecs,
            self.candidates,
            queries=queries,
            recall=self.config.least_index_recall,
        )
        about = dict(self.base.about.get("index", {})) | changed
        warn_of(about)
        return about

    def _write_vectors(self, path: Path, placement: Placement) -> Floats:
        old: Floats = np.load(self.base.path(layout.ITEM_VECTORS), mmap_mode="r")
        shape = (len(self.changes.vocabulary), old.shape[1])
        vecs = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
        for start in range(0, len(old), _BLOCK):
            vecs[start : min(start + _BLOCK, len(old))] = old[start : start + _BLOCK]
        new = self.changes.new_codes
        if len(new):
            vecs[len(old) :] = placement.unit_vectors(new, old, length=self.config.new_item_length)
        vecs.flush()
        return np.asarray(np.load(path, mmap_mode="r"))

    def _write_tower(self, path: Path, placement: Placement) -> None:
        model = onnx.load(str(self.base.path(layout.USER_TOWER)))
        new = self.changes.new_codes
        if len(new):
            model = with_new_rows(model, placement, num_before=self.changes.num_before, new=new)
        is_large = sum(len(one.raw_data) for one in model.graph.initializer) > _LARGEST_IN_ONE_FILE
        onnx.save(model, str(path), save_as_external_data=is_large, location=f"{path.name}.data")

    def _queries(self, tower: Path) -> Floats | None:
        """Return the vectors of some customers, as the new tower sees them; ``None`` where nobody has a history."""
        if not self.asked.num_users:
            return None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session: Any = onnxruntime.InferenceSession(str(tower), options)
        return run_exported(session, int(self.base.about["max_length"]), self.asked)


def _some(sequences: Sequences, changes: ItemChanges, event_types: list[str]) -> Sequences:
    """Return the histories of some customers in the part's codes, drawn alike each time, none of them empty."""
    users = np.flatnonzero(sequences.lengths > 0)
    drawn = np.sort(np.random.default_rng(0).permutation(users)[:_MOST_USERS])
    some = sequences.take(drawn)
    item = changes.of_newer[some.item].astype(some.item.dtype)
    reads = np.zeros(1 + max(EVENT_TYPE_CODES.values()), bool)
    reads[[0, *(EVENT_TYPE_CODES[name] for name in event_types)]] = True
    kept = replace(some, item=item).where((item > UNKNOWN) & reads[some.event_type])
    return kept.take(np.flatnonzero(kept.lengths > 0))


def _config(part: Part) -> RetrievalConfig:
    """Return the settings of a part's training that decide which items it shows."""
    values = part.about.get("config", {})
    names = ("min_item_events", "new_item_days", "flat_index_limit", "least_index_recall", "new_item_length")
    tower = values.get("tower", {})
    shape = {name: tower[name] for name in ("content", "num_title_buckets") if name in tower}
    return RetrievalConfig(tower=TowerConfig(**shape), **{name: values[name] for name in names if name in values})
