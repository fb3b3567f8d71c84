"""Item vectors as a compromise of what was learned of an item and what its content says.

A vector learned from five events is noisy, and an item without events has none; items described alike lie near each
other. So a linear map from content to the learned vectors of known items is fitted once after training (ridge
regression), and each item's exported vector is moved towards what the map predicts, the further the fewer its events::

    events of the item     0         2            200          content_events = 2
    exported vector        content   half, half   1% content

This is the posterior mean of a normal mean whose prior is the regression (Efron and Morris 1973, "Stein's estimation rule and its
competitors: an empirical Bayes approach"; Lindley and Smith 1972, "Bayes estimates for the linear model"), brought back
to unit length. Histories are read as they were learned: only the vectors that are ranked change.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import sparse

from features.catalog import ItemCatalog
from features.content import ItemContent
from features.vocabulary import FIRST
from training.evaluation.baselines.attribute_knn import content_profiles
from training.retrieval.config import RetrievalConfig

_RIDGE: Final = 1.0  # one item's weight against each coefficient: profiles have unit length
_TOLERANCE: Final = 1e-4
_MOST_ROUNDS: Final = 100

Ints = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class ContentPrior:
    """What is known of items besides their learned vectors.

    Args:
        profiles: content of each item, sparse rows of unit length, empty where nothing is known, float32 ``[V, A]``.
        num_events: of each item in the fit part, int64 ``[V]``.
        content_events: content counts as much as so many events; 0 leaves vectors as they were learned.
        new_item_length: of the vectors of items without events, where known ones have 1.
    """

    profiles: sparse.csr_array
    num_events: Ints
    content_events: float
    new_item_length: float = 1.0

    @classmethod
    def of(cls, catalog: ItemCatalog, items: Ints, config: RetrievalConfig) -> ContentPrior:
        """Read a catalogue and the items of the fit part's events."""
        content_events = config.content_events if config.tower.content else 0.0
        return cls(
            profiles=_profiles(catalog, config.tower.num_title_buckets) if content_events else _nothing(len(catalog)),
            num_events=np.bincount(items, minlength=len(catalog)),
            content_events=content_events,
            new_item_length=config.new_item_length,
        )

    def applied(self, vecs: Floats) -> Floats:
        """Return item vectors ``[V, D]`` for a ranking.

        Args:
            vecs: unit vectors as they were learned, ``[V, D]``.
        """
        new = self.num_events == 0
        mixed = self._mixed(vecs) if self.content_events else vecs
        lengths = np.where(new, self.new_item_length, 1).astype(np.float32)
        return mixed * lengths[:, None]

    def _mixed(self, vecs: Floats) -> Floats:
        described = np.diff(self.profiles.indptr) > 0
        described[:FIRST] = False
        taught = np.flatnonzero(described & (self.num_events > 0))
        if not len(taught):
            return vecs
        mean = vecs[taught].mean(0, dtype=np.float64)
        content = ridge(self.profiles[taught], vecs[taught] - mean, penalty=_RIDGE)
        described_codes = np.flatnonzero(described)
        said = unit(self.profiles[described_codes] @ content + mean)
        events = self.num_events[described_codes, None]
        mixed = vecs.copy()
        mixed[described_codes] = unit(events * vecs[described_codes] + self.content_events * said)
        logger.info("content: %d items teach, %d are placed by it alone", len(taught), (events == 0).sum())
        return mixed


def _profiles(catalog: ItemCatalog, num_title_buckets: int) -> sparse.csr_array:
    return content_profiles(ItemContent.from_catalog(catalog, num_title_buckets=num_title_buckets))


def _nothing(num_codes: int) -> sparse.csr_array:
    return sparse.csr_array(np.zeros((num_codes, 1), np.float32))


def ridge(x: sparse.csr_array, y: npt.NDArray[np.floating], *, penalty: float) -> Doubles:
    """Return coefficients ``[A, D]`` that minimise ``|x b - y|^2 + penalty |b|^2``, each column of y on its own.

    By conjugate gradients on the normal equations, all columns side by side: titles have tens of thousands of
    attributes, whose matrix of products nobody wants to factor (Hestenes and Stiefel 1952).

    Args:
        x: rows of unit length ``[N, A]``.
        y: ``[N, D]``.
        penalty: above 0.
    """
    x = sparse.csr_array(x.astype(np.float64))
    transposed = sparse.csr_array(x.T)
    residual = transposed @ np.asarray(y, np.float64)  # [A, D]
    found, direction = np.zeros_like(residual), residual.copy()
    size = (residual**2).sum(0)
    enough = _TOLERANCE**2 * size
    for _ in range(_MOST_ROUNDS):
        open_columns = size > enough
        if not open_columns.any():
            break
        product = transposed @ (x @ direction) + penalty * direction
        step = _divided(size, (direction * product).sum(0)) * open_columns
        found += step * direction
        residual -= step * product
        before, size = size, (residual**2).sum(0)
        direction = residual + _divided(size, before) * direction
    return found


def unit(vecs: npt.NDArray[np.floating]) -> Floats:
    """Return rows at length 1; rows of zeros stay."""
    length = np.linalg.norm(vecs, axis=1, keepdims=True)
    return np.divide(vecs, length, out=np.zeros_like(vecs), where=length > 0).astype(np.float32)


def _divided(a: Doubles, b: Doubles) -> Doubles:
    return np.divide(a, b, out=np.zeros_like(a), where=b > 0)
