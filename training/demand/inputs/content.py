"""Content vectors of a panel's items, as a retrieval model learnt them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from features.errors import ConfigError
from features.release import layout
from features.vocabulary import Vocabulary

Floats = npt.NDArray[np.float32]

NUM_COMPONENTS: Final = 16  # of the vectors that the network reads; neighbours are found in all of them

log = logging.getLogger(__name__)


def item_vectors(part: Path, item_ids: npt.NDArray[np.object_]) -> Floats:
    """Return the vectors of a retrieval part by item, float32 ``[I, V]``; 0 for items that it does not know.

    The two-tower gives an item that nobody has met a vector from its content alone.

    Args:
        part: directory of a retrieval part.
        item_ids: ``[I]``.

    Raises:
        ConfigError: it is not one.
    """
    paths = part / layout.VOCABULARY, part / layout.ITEM_VECTORS
    for path in paths:
        if not path.is_file():
            raise ConfigError(
                f"item_vectors: expected the directory of a retrieval part with {path.name}, found none in {part}."
            )
    vocabulary, vectors = Vocabulary.load(paths[0]), np.load(paths[1], mmap_mode="r")
    known = np.array([id_ in vocabulary for id_ in item_ids], bool)
    found = np.zeros((len(item_ids), vectors.shape[1]), np.float32)
    found[known] = vectors[[vocabulary.code_of(str(id_)) for id_ in item_ids[known]]]
    log.info("demand: vectors of %d of %d items from %s", int(known.sum()), len(item_ids), part)
    return found


def principal_components(vectors: Floats) -> Floats:
    """Return the directions in which the vectors differ most, ``[I, min(V, 16)]``, of unit spread; 0 where unknown."""
    known = np.abs(vectors).sum(axis=1) > 0
    found = np.zeros((len(vectors), min(vectors.shape[1], NUM_COMPONENTS)), np.float32)
    if known.sum() < 2:
        return found
    centred = vectors[known] - vectors[known].mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    components = centred @ directions[: found.shape[1]].T
    found[known, : components.shape[1]] = components / max(float(components.std()), 1e-6)
    return found
