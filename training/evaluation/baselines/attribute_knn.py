"""Items that resemble a history in what they say of themselves: new ones can be ranked too.

Source: Pazzani and Billsus 2007, "Content-based recommendation systems" (tf-idf profiles compared by
cosine). The query fades by position, as in ``item_knn``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from scipy import sparse

from features.content import Bags, ItemContent
from features.errors import DataError
from features.recommendations import Recommendations
from features.sequences import Sequences
from training.evaluation.baselines.item_knn import recency_weights
from training.evaluation.ranking import rank_in_batches

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class AttributeKNN:
    """Ranks items by the cosine of their attributes with those of a history, weighted by recency.

    It learns from no behaviour: a candidate that nobody has met yet is ranked like any other.

    Args:
        profiles: float32 sparse ``[V, A]``; rows of unit length, empty where nothing is known of an item.
        candidates: bool ``[V]``.
        decay: weight of an event relative to the one after it.
        seed: of the tie-breaking, which counts here: items described alike tie.
    """

    name: ClassVar[str] = "attribute-kNN"

    profiles: sparse.csr_array
    candidates: npt.NDArray[np.bool_]
    decay: float = 0.6
    seed: int = 0

    @classmethod
    def from_matrix(
        cls, attributes: sparse.csr_array, *, candidates: npt.NDArray[np.bool_], decay: float = 0.6, seed: int = 0
    ) -> AttributeKNN:
        """Weigh attributes by how rare they are.

        Args:
            attributes: ``[V, A]``; a cell above 0 says that the item has the attribute.
            candidates: bool ``[V]``, which items may be shown.
            decay: weight of an event relative to the one after it, above 0 and at most 1.
            seed: of the tie-breaking.

        Raises:
            DataError: there is not one row an item code.
        """
        if attributes.shape[0] != len(candidates):
            raise DataError(
                f"attribute-kNN: expected a row for each of {len(candidates)} item codes, found {attributes.shape[0]}."
            )
        return cls(profiles=unit_rows(tf_idf(attributes)), candidates=candidates, decay=decay, seed=seed)

    @classmethod
    def from_content(
        cls, content: ItemContent, *, candidates: npt.NDArray[np.bool_], decay: float = 0.6, seed: int = 0
    ) -> AttributeKNN:
        """Take category levels, brand, labels, price band and title as attributes; see ``content_profiles``."""
        return cls(profiles=content_profiles(content), candidates=candidates, decay=decay, seed=seed)

    def recommend(self, query: Sequences, *, k: int, exclude_seen: bool) -> Recommendations:
        """See ``Recommender``; scores are cosines, and items that share nothing with the history are not shown."""
        return rank_in_batches(
            self._score, query, candidates=self.candidates, k=k, exclude_seen=exclude_seen, seed=self.seed
        )

    def _score(self, batch: Sequences) -> Floats:
        weights = recency_weights(batch, num_items=len(self.candidates), decay=self.decay)
        profiles = unit_rows(sparse.csr_array(weights @ self.profiles))  # [B, A]
        score = (profiles @ self.profiles.T).toarray()  # [B, V]
        return np.where(score > 0, score, np.float32(-np.inf))


def content_profiles(content: ItemContent) -> sparse.csr_array:
    """Return a unit row an item, float32 ``[V, A]``: the fields of ``known_fields`` side by side.

    Each of the fields an item has counts alike, however many attributes it is made of: otherwise the
    hundred n-grams of a title would drown its category.
    """
    parts = [unit_rows(tf_idf(attribute_matrix(bags))) for bags in known_fields(content).values()]
    if not parts:
        return sparse.csr_array(np.zeros((len(content.category.offsets) - 1, 1), np.float32))
    return unit_rows(sparse.csr_array(sparse.hstack(parts, format="csr")))


def known_fields(content: ItemContent) -> dict[str, Bags]:
    """Return the fields that any item has, by name: category levels, brand, labels, price band, title."""
    fields = {
        "category": content.category,
        "brand": content.brand,
        "labels": content.labels,
        "price band": content.price_band,
        "title": content.title,
    }
    return {name: bags for name, bags in fields.items() if len(bags.codes)}


def attribute_matrix(bags: Bags) -> sparse.csr_array:
    """Return float32 ``[V, A]``, 1 where an item's bag holds the attribute."""
    ones = np.ones(len(bags.codes), np.float32)
    matrix = sparse.csr_array((ones, bags.codes, bags.offsets), shape=(len(bags.offsets) - 1, bags.num_codes))
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def tf_idf(attributes: sparse.csr_array) -> sparse.csr_array:
    """Return the matrix with attribute a of n items weighing ln(N / n), N the items that have any; cells are 0 or 1.

    >>> tf_idf(sparse.csr_array(np.array([[1, 1], [0, 1]]))).toarray().astype(float).round(2).tolist()
    [[0.69, 0.0], [0.0, 0.0]]
    """
    matrix = sparse.csr_array((attributes > 0).astype(np.float32))
    num_items = int((np.diff(matrix.indptr) > 0).sum())
    num_with = np.bincount(matrix.indices, minlength=matrix.shape[1])
    idf = np.log(max(num_items, 1) / np.maximum(num_with, 1)).astype(np.float32)
    weighted = sparse.csr_array(matrix @ sparse.diags_array(idf))
    weighted.eliminate_zeros()  # what every item has tells none apart
    return weighted


def unit_rows(matrix: sparse.csr_array) -> sparse.csr_array:
    """Return the matrix with rows of unit length; rows of zeros stay so."""
    length = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    scale = np.divide(1, length, out=np.zeros_like(length), where=length > 0).astype(np.float32)
    return sparse.csr_array(sparse.diags_array(scale) @ matrix)
