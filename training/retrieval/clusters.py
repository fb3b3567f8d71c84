"""K-means of a sample, and a finder that puts ten million points into thousands of cells without comparing each with each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import faiss as _faiss
import numpy as np
import numpy.typing as npt

faiss: Any = _faiss
_ROUNDS: Final = 6
_GROUP_ROUNDS: Final = 10
_SEEN_GROUPS: Final = 12
_ALL_COMPARED: Final = 1_024  # up to so many cells groups save little

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Clusters:
    """Means, and a finder of the nearest.

    The finder looks among the means of the groups nearest to a point, of which there are as many as means in a group: it
    misses the nearest of all now and then, and finds one nearly as near.

    Args:
        means: float32 ``[cells, m]``.
        finder: FAISS's index over them.
    """

    means: Floats
    finder: Any

    @classmethod
    def learn(cls, points: Floats, num_cells: int) -> Clusters:
        """Find the means of ``num_cells`` clusters; the same for the same points.

        Args:
            points: float32 ``[S, m]``, contiguous, at least ``num_cells``.
            num_cells: how many.
        """
        return cls.over(_means(points, num_cells, rounds=_ROUNDS))

    @classmethod
    def over(cls, means: Floats) -> Clusters:
        """Make the finder over known means."""
        if len(means) <= _ALL_COMPARED:
            return cls(means=means, finder=_flat(means))
        centres = _means(means, int(np.sqrt(len(means))), rounds=_GROUP_ROUNDS)
        finder = faiss.IndexIVFFlat(_flat(centres), means.shape[1], len(centres))
        finder.own_fields = True
        finder.quantizer.this.disown()
        finder.train(means)
        finder.add(means)
        finder.nprobe = _SEEN_GROUPS
        return cls(means=means, finder=finder)

    def of(self, points: Floats) -> Ints:
        """Return the cell of each point ``[N]``."""
        cells: Ints = self.finder.search(np.ascontiguousarray(points, np.float32), 1)[1][:, 0]
        return np.ascontiguousarray(np.maximum(cells, 0))


def _means(points: Floats, number: int, *, rounds: int) -> Floats:
    kmeans = faiss.Kmeans(
        points.shape[1],
        number,
        niter=rounds,
        seed=1,
        max_points_per_centroid=max(1, len(points)),
        min_points_per_centroid=1,
    )
    kmeans.train(np.ascontiguousarray(points))
    return np.asarray(kmeans.centroids, np.float32)


def _flat(means: Floats) -> Any:
    finder = faiss.IndexFlatL2(means.shape[1])
    finder.add(means)
    return finder
