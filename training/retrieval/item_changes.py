"""What came, what went, and where new items stand: a part's items brought up to newer features without a training."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper
from scipy import sparse

from features.catalog import ItemCatalog
from features.content import ItemContent
from features.errors import ReleaseError
from features.repeats.item_cycles import ItemCycles
from features.repeats.repurchase import RepurchaseModel
from features.vocabulary import FIRST, PAD, UNKNOWN, Vocabulary
from training.evaluation.baselines.attribute_knn import content_profiles
from training.retrieval.content_prior import Doubles, ridge, unit

_RIDGE: Final = 1.0  # as in training/retrieval/content_prior.py
_BLOCK: Final = 100_000

Ints = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class ItemChanges:
    """Items of a part and of newer features, in one vocabulary.

    Args:
        vocabulary: the part's ids at their places, then those that the newer features know besides.
        catalog: attributes by its codes: the newer ones; what is gone keeps its old ones and is not available.
        of_newer: the code here of each of the newer features' codes, ``[V of the features]``.
        num_before: codes that the part had.
    """

    vocabulary: Vocabulary
    catalog: ItemCatalog
    of_newer: Ints
    num_before: int

    @classmethod
    def between(
        cls, vocabulary: Vocabulary, catalog: ItemCatalog, newer: Vocabulary, newer_catalog: ItemCatalog
    ) -> ItemChanges:
        """Join both.

        Args:
            vocabulary: of the part.
            catalog: the same.
            newer: of the newer features.
            newer_catalog: the same.
        """
        new = [id_ for id_, code in zip(newer.ids, vocabulary.encode(newer.ids), strict=True) if code == UNKNOWN]
        joined = Vocabulary.from_ids([*vocabulary.ids, *new])
        of_newer = np.concatenate([[PAD, UNKNOWN], joined.encode(newer.ids)]).astype(np.int64)
        return cls(
            vocabulary=joined,
            catalog=_joined(catalog, newer_catalog, of_newer, len(joined)),
            of_newer=of_newer,
            num_before=len(vocabulary),
        )

    @property
    def new_codes(self) -> Ints:
        """Codes that the part did not have."""
        return np.arange(self.num_before, len(self.vocabulary))

    def candidates(self, before: Ints, found: Ints) -> Ints:
        """Return what may be recommended now: what could be and is still there, and what the newer features make one.

        Args:
            before: the part's candidates.
            found: codes of the newer features.
        """
        joined = np.union1d(before, self.of_newer[found])
        return np.asarray(joined[self.catalog.available[joined]], np.int64)


def _joined(old: ItemCatalog, newer: ItemCatalog, of_newer: Ints, num_codes: int) -> ItemCatalog:
    columns = {}
    for one in fields(ItemCatalog):
        held, now = getattr(old, one.name), getattr(newer, one.name)
        values = np.empty(num_codes, dtype=now.dtype)
        values[: len(held)] = held
        if one.name == "available":
            values[:] = False
        values[of_newer[FIRST:]] = now[FIRST:]
        columns[one.name] = values
    return ItemCatalog(**columns)


@dataclass(frozen=True, kw_only=True, eq=False)
class Placement:
    """Where items stand by what they say of themselves: the map that an export would fit, over what a part holds.

    Args:
        profiles: content by code, sparse rows of unit length ``[V, A]``.
        taught: codes whose vectors were learned.
    """

    profiles: sparse.csr_array
    taught: Ints

    @classmethod
    def of(cls, catalog: ItemCatalog, taught: Ints, *, num_title_buckets: int) -> Placement:
        """Read a catalogue."""
        profiles = content_profiles(ItemContent.from_catalog(catalog, num_title_buckets=num_title_buckets))
        described = np.diff(profiles.indptr) > 0
        return cls(profiles=profiles, taught=taught[described[taught]])

    def of_codes(self, codes: Ints, known: Floats) -> Floats:
        """Return vectors for some items, of the lengths that the map gives, float32 ``[N, D]``.

        An item that says nothing of itself stands at the mean.

        Args:
            codes: where they stand in the catalogue.
            known: vectors by code ``[V', D]``, at least of all that teach.
        """
        vecs = np.asarray(known[self.taught], np.float64)
        if not len(vecs):
            return np.zeros((len(codes), known.shape[1]), np.float32)
        mean = vecs.mean(axis=0)
        content: Doubles = ridge(self.profiles[self.taught], vecs - mean, penalty=_RIDGE)
        placed = np.empty((len(codes), known.shape[1]), np.float32)
        for start in range(0, len(codes), _BLOCK):
            some = codes[start : start + _BLOCK]
            placed[start : start + _BLOCK] = self.profiles[some] @ content + mean
        return placed

    def unit_vectors(self, codes: Ints, known: Floats, *, length: float) -> Floats:
        """Return what ``of_codes`` does at one length: an item vector as it is ranked."""
        return unit(self.of_codes(codes, known)) * np.float32(length)


def with_new_rows(model: onnx.ModelProto, placement: Placement, *, num_before: int, new: Ints) -> onnx.ModelProto:
    """Return a user tower that reads new items too: each of its tables of raw item vectors gets their rows.

    Args:
        model: as ``export_user_tower`` wrote it.
        placement: of the new items.
        num_before: rows that the tables have.
        new: codes of the new items, which follow these.

    Raises:
        ReleaseError: no table is read by ``item``.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    read = {node.input[0] for node in changed.graph.node if node.op_type == "Gather" and "item" in node.input[1:2]}
    tables = [one for one in changed.graph.initializer if one.name in read and one.dims[0] == num_before]
    if not tables:
        raise ReleaseError("Expected a user tower with a table of item vectors, found none; train the part again.")
    for table in tables:
        rows = numpy_helper.to_array(table)
        grown = np.concatenate([rows, placement.of_codes(new, rows).astype(rows.dtype)])
        table.CopyFrom(numpy_helper.from_array(grown, table.name))
    return changed


def with_new_cycles(model: RepurchaseModel, catalog: ItemCatalog) -> RepurchaseModel:
    """Return habits that know new items too: as those of their top-level category on average, never bought so far.

    Args:
        model: of a part, ``[V']``.
        catalog: of all items, ``[V]``.
    """
    num_before = len(model.cycles.again)
    top = np.array([path.split("/")[0] for path in catalog.category], dtype=object)
    names, rows = np.unique(top.astype(str), return_inverse=True)
    known, new = rows[FIRST:num_before], rows[num_before:]
    count = np.bincount(known, minlength=len(names))
    changed: dict[str, Any] = {}
    for one in fields(ItemCycles):
        values = getattr(model.cycles, one.name)
        if not isinstance(values, np.ndarray):
            continue
        means = np.full(len(names), values[FIRST:].mean() if num_before > FIRST else 0.0)
        sums = np.bincount(known, values[FIRST:], minlength=len(names))
        np.divide(sums, count, out=means, where=count > 0)
        rates = one.name in ("rate", "recent_rate")
        more = np.zeros(len(new)) if rates else means[new]
        changed[one.name] = np.concatenate([values, more.astype(values.dtype)])
    return replace(model, cycles=replace(model.cycles, **changed))
