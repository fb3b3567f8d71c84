"""An index over what users ask about: their vectors vary in few directions, and only those tell items apart.

Inner products with users ``q`` of second moment ``S = V diag(w) V'`` are ``(V'q / sqrt(w)) . (sqrt(w) V'x)``. On the right, items
are stretched along what is asked; on the left, users are alike in every direction, so that cells of items by distance
(k-means) are cells by score, and a byte a direction is enough for the leading ones. The best are ranked again by whole vectors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import faiss
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.integer]

_ROUNDS: Final = 10
_LEAST: Final = 1e-6  # a direction is never asked about less than so much of the first


@dataclass(frozen=True, kw_only=True, eq=False)
class AskedSpace:
    """The leading directions of users.

    Args:
        of_users: float32 ``[m, d]``, maps a user vector.
        of_items: float32 ``[m, d]``, maps an item vector; inner products stay as near as they can.
        share: of the variance of scores that the directions hold.
        length: mean length of a user in it.
    """

    of_users: Floats
    of_items: Floats
    share: float
    length: float

    @classmethod
    def learn(cls, queries: Floats, items: Floats, *, num_directions: int) -> AskedSpace:
        """Find the directions.

        Args:
            queries: user vectors ``[Q, d]``.
            items: ``[N, d]``.
            num_directions: ``m``, at most ``d``.
        """
        weight, basis = np.linalg.eigh(np.asarray(queries, np.float64).T @ queries / len(queries))
        weight = np.maximum(weight, _LEAST * weight[-1])
        variance = weight * (np.cov(items.T) @ basis * basis).sum(axis=0)
        order = np.argsort(-variance)
        kept = order[:num_directions]
        of_users = (basis[:, kept] / np.sqrt(weight[kept])).T
        return cls(
            of_users=np.ascontiguousarray(of_users, np.float32),
            of_items=np.ascontiguousarray((basis[:, kept] * np.sqrt(weight[kept])).T, np.float32),
            share=float(variance[kept].sum() / variance.sum()),
            length=float(np.linalg.norm(queries @ of_users.T, axis=1).mean()),
        )


def index_in(space: AskedSpace, held: Floats, *, num_cells: int, trained_on: Ints) -> faiss.IndexRefine:
    """Return an index over the items, a byte a direction, within cells; ``base_index`` maps what is asked by itself.

    A cell is visited for its mean, and for how far its items lie from it: a wide cell holds the best of some. That is one
    more coordinate, in which each cell has its spread, a user the mean length, and items nothing.

    Args:
        space: of the users.
        held: float32 ``[N, d]``.
        num_cells: of k-means.
        trained_on: rows that cells are learned from.
    """
    mapped = held @ space.of_items.T  # [N, m]
    means = _means(mapped[trained_on], num_cells)
    cells = _nearest(mapped, means)
    width = space.of_items.shape[0] + 1
    quantizer = faiss.IndexFlatIP(width)
    quantizer.add(np.hstack([means, spreads(mapped, means, cells)[:, None]]))
    base: Any = faiss.IndexIVFScalarQuantizer(
        quantizer, width, num_cells, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT, False
    )
    _hand_over(quantizer, base)
    coded = np.hstack([mapped, np.zeros((len(mapped), 1), np.float32)])
    base.train(coded[trained_on])
    _add(base, coded, cells)
    return _refined(behind_map(space, base), held)


def cells_of(index: faiss.IndexRefine) -> Any:
    """Return the part of such an index, or of one without a map, that holds cells; ``None`` where it has none."""
    base: Any = faiss.downcast_index(index.base_index)
    if isinstance(base, faiss.IndexPreTransform):
        base = faiss.downcast_index(base.index)
    return base if isinstance(base, faiss.IndexIVF) else None


def _means(points: Floats, num_cells: int) -> Floats:
    kmeans = faiss.Kmeans(
        points.shape[1],
        num_cells,
        niter=_ROUNDS,
        seed=1,
        max_points_per_centroid=len(points),
        min_points_per_centroid=1,
    )
    kmeans.train(np.ascontiguousarray(points))
    return np.asarray(kmeans.centroids, np.float32)


def _nearest(points: Floats, means: Floats) -> npt.NDArray[np.int64]:
    finder = faiss.IndexFlatL2(means.shape[1])
    finder.add(means)
    return np.ascontiguousarray(finder.search(np.ascontiguousarray(points), 1)[1][:, 0])


def spreads(points: Floats, means: Floats, cells: npt.NDArray[np.int64]) -> Floats:
    """Return how far a cell's items lie from its mean, a direction, float32 ``[cells]``."""
    squares = np.bincount(cells, ((points - means[cells]) ** 2).sum(axis=1), minlength=len(means))
    count = np.maximum(1, np.bincount(cells, minlength=len(means)))
    return np.asarray(np.sqrt(squares / count / points.shape[1]), np.float32)


def _add(base: Any, coded: Floats, cells: npt.NDArray[np.int64]) -> None:
    """Put each row in its cell: by itself FAISS would choose by inner product."""
    ids = np.arange(len(coded), dtype=np.int64)
    base.add_core(len(coded), *(faiss.swig_ptr(one) for one in (coded, ids, cells)))


def behind_map(space: AskedSpace, base: Any) -> Any:
    """Return an index behind the map of users, a last coordinate of their length where it has one more than there are directions."""
    map_, bias = space.of_users, np.zeros(base.d, np.float32)
    if base.d > len(map_):
        map_, bias[-1] = np.vstack([map_, np.zeros((1, map_.shape[1]), np.float32)]), space.length
    linear = faiss.LinearTransform(map_.shape[1], len(map_), True)
    faiss.copy_array_to_vector(np.ascontiguousarray(map_).ravel(), linear.A)
    faiss.copy_array_to_vector(bias, linear.b)
    linear.is_trained = True
    mapped = faiss.IndexPreTransform(linear, base)
    mapped.ntotal, mapped.is_trained = base.ntotal, True
    _hand_over(linear, mapped)
    _hand_over(base, mapped)
    return mapped


def _refined(base: Any, held: Floats) -> faiss.IndexRefine:
    whole: Any = faiss.IndexScalarQuantizer(held.shape[1], faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    whole.train(held[:1])
    whole.add(held)
    refined = faiss.IndexRefine(base, whole)
    refined.own_refine_index = True
    whole.this.disown()
    _hand_over(base, refined)
    return refined


def _hand_over(part: Any, owner: Any) -> None:
    """Have the owner delete a part in C++: Python is to forget it."""
    part.this.disown()
    owner.own_fields = True
