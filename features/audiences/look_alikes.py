"""Customers who resemble an audience: vectors of a profile and of tastes, and who lies the seed's way.

    direction = mean of the seed's unit vectors - mean of everybody's
    score     = a customer's unit vector times direction

The mean of everybody is taken off because most of what a seed's members are, everybody is.

Source: Rocchio 1971, "Relevance feedback in information retrieval" (the same contrast of two centroids).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse
from scipy.stats import rankdata

from features import columns as c
from features.errors import DataError
from features.rules.session import RuleSession

PROFILE: Final = ("recency_days", "frequency", "monetary", "average_basket", "num_interactions")
_TASTES: Final = ("category", "brand", "item_id")
_EVENT_WEIGHTS: Final = {c.VIEW: 1.0, c.FAVORITE: 2.0, c.CART: 2.0, c.PURCHASE: 3.0}
logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class CustomerVectors:
    """One unit vector a customer.

    Args:
        user_ids: in the order of the rows.
        vectors: ``[U, D]``, dense or sparse, rows of length 1 (or 0 where nothing is known).
    """

    user_ids: pd.Index
    vectors: Any

    @classmethod
    def of(cls, user_ids: pd.Index, vectors: npt.NDArray[np.floating]) -> CustomerVectors:
        """Return the vectors of a model, such as a retrieval model's user vectors, at unit length; left as they are.

        Args:
            user_ids: ``[U]``, each once.
            vectors: ``[U, D]``.

        Raises:
            DataError: their numbers differ.
        """
        if len(user_ids) != len(vectors) or not user_ids.is_unique:
            raise DataError(
                f"customer vectors: expected one row a distinct id, found {len(vectors)} rows and "
                f"{user_ids.nunique()} ids of {len(user_ids)}."
            )
        length = np.linalg.norm(vectors, axis=1, keepdims=True)
        return cls(user_ids=user_ids, vectors=vectors / np.where(length > 0, length, 1.0))

    @classmethod
    def from_session(cls, session: RuleSession) -> CustomerVectors:
        """Return vectors of the customer table's figures and of what was viewed, kept and bought.

        Each block (figures, categories, brands, items) has length 1 before they are joined, so that no block drowns
        the others. Figures are ranks from -1 to 1; tastes are faded counts, rarer things weigh more.
        """
        users = pd.Index(session.compiler.universe().to_native().order(c.USER_ID).df()[c.USER_ID])
        blocks = [_unit(sparse.csr_matrix(_profile(session, users)))]
        blocks += [_unit(_tastes(session, users, field)) for field in _TASTES]
        joined = _unit(sparse.hstack(blocks).tocsr())
        logger.info("customer vectors: %d customers, %d columns", *joined.shape)
        return cls(user_ids=users, vectors=joined)


def look_alikes(seed: pd.Series | pd.Index, vectors: CustomerVectors, *, n: int) -> pd.DataFrame:
    """Return the customers outside the seed who resemble it most.

    Args:
        seed: ids of the audience; those without a vector are passed over.
        vectors: of all customers.
        n: how many; fewer where there are no more.

    Returns:
        user_id, score; best first, equals by id.

    Raises:
        DataError: no member of the seed has a vector.
    """
    rows = vectors.user_ids.get_indexer(pd.Index(seed))
    rows = rows[rows >= 0]
    if not len(rows):
        raise DataError("look-alikes: expected members with a vector, found none; choose a larger audience.")
    mean = np.asarray(vectors.vectors.mean(axis=0)).ravel()
    direction = np.asarray(vectors.vectors[rows].mean(axis=0)).ravel() - mean
    scores = np.asarray(vectors.vectors @ direction).ravel()
    outside = np.setdiff1d(np.arange(len(vectors.user_ids)), rows)
    found = pd.DataFrame({c.USER_ID: vectors.user_ids[outside], "score": scores[outside]})
    return found.sort_values(["score", c.USER_ID], ascending=[False, True], ignore_index=True).head(n)


def _profile(session: RuleSession, users: pd.Index) -> npt.NDArray[np.float64]:
    """Figures as ranks from -1 to 1, ``[U, F]``; 0 where missing."""
    known = [name for name in PROFILE if name in (session.compiler.natures or {})]
    columns = [pd.Series(session.profile_column(name), dtype=float).reindex(users).to_numpy() for name in known]
    ranks = [np.where(np.isnan(x), 0.0, 2 * rankdata(x, nan_policy="omit") / (len(x) + 1) - 1) for x in columns]
    return np.stack(ranks, axis=1) if ranks else np.zeros((len(users), 1))


def _tastes(session: RuleSession, users: pd.Index, field: str) -> Any:
    """Weighted counts of a field's values, damped and made rarer by what everybody has, sparse ``[U, V]``."""
    weight = " ".join(f"WHEN '{kind}' THEN {value}" for kind, value in _EVENT_WEIGHTS.items())
    kinds = ", ".join(f"'{kind}'" for kind in _EVENT_WEIGHTS)
    frame = session.connection.sql(f"""
        SELECT user_id, {field} AS value, sum(CASE event_type {weight} END) AS weight FROM rule_rows
        WHERE event_type IN ({kinds}) AND {field} IS NOT NULL GROUP BY ALL ORDER BY ALL""").df()
    codes, values = pd.factorize(frame["value"], sort=True)
    shape = (len(users), max(len(values), 1))
    counts = sparse.csr_matrix(
        (np.log1p(frame["weight"].to_numpy(float)), (users.get_indexer(frame[c.USER_ID]), codes)), shape
    )
    holders = np.asarray((counts > 0).sum(axis=0)).ravel()
    return counts @ sparse.diags(np.log((1 + len(users)) / (1 + holders)))


def _unit(matrix: Any) -> Any:
    length = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    return sparse.diags(1 / np.where(length > 0, length, 1.0)) @ matrix
