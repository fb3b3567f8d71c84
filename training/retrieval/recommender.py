"""The two-tower as a recommender, from the exported files alone: what is evaluated is what is served."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnxruntime

from features.history import encode_history
from features.recommendations import Recommendations
from features.release import Part, layout
from features.sequences import Sequences
from training.evaluation.ranking import rank_in_batches
from training.retrieval.content_prior import ContentPrior
from training.retrieval.ensemble import Towers
from training.retrieval.export import INPUTS, OUTPUT, item_vectors
from training.retrieval.indexing import codes_of
from training.retrieval.questions import user_vectors

Ints = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float32]

_USERS_A_RUN: Final = 512


@dataclass(frozen=True, kw_only=True, eq=False)
class TwoTowerRecommender:
    """Exact ranking of all candidates by the exported user tower and item vectors.

    Args:
        name: in reports.
        encode_users: histories, none empty, to unit vectors float32 ``[Q, D]``.
        candidates: item codes in the index, rising, int64 ``[C]``.
        candidate_vecs: their vectors, float32 ``[C, D]``.
        num_codes: V.
    """

    name: str
    encode_users: Callable[[Sequences], Floats]
    candidates: Ints
    candidate_vecs: Floats
    num_codes: int

    @classmethod
    def from_part(cls, part: Part, *, name: str = "two_tower", threads: int = 1) -> TwoTowerRecommender:
        """Open a checked part.

        Raises:
            ReleaseError: the part lacks one of its files.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session: Any = onnxruntime.InferenceSession(str(part.path(layout.USER_TOWER)), options)
        candidates = codes_of(part.path(layout.INDEX))
        item_vecs = np.load(part.path(layout.ITEM_VECTORS), mmap_mode="r")
        return cls(
            name=name,
            encode_users=functools.partial(run_exported, session, int(part.about["max_length"])),
            candidates=candidates,
            candidate_vecs=np.ascontiguousarray(item_vecs[candidates]),
            num_codes=len(item_vecs),
        )

    @classmethod
    def from_towers(
        cls, towers: Towers, candidates: Ints, *, prior: ContentPrior | None = None, name: str = "two_tower"
    ) -> TwoTowerRecommender:
        """Use trained towers before any export, their item vectors moved by a prior where one is given."""
        item_vecs = item_vectors(towers, prior)
        return cls(
            name=name,
            encode_users=functools.partial(_run_towers, towers),
            candidates=np.asarray(candidates, np.int64),
            candidate_vecs=item_vecs[candidates],
            num_codes=len(item_vecs),
        )

    def recommend(self, query: Sequences, *, k: int, exclude_seen: bool) -> Recommendations:
        """Return each user's ``k`` best candidates; none for a user without events."""
        is_candidate = np.zeros(self.num_codes, bool)
        is_candidate[self.candidates] = True
        return rank_in_batches(self._scores, query, candidates=is_candidate, k=k, exclude_seen=exclude_seen)

    def _scores(self, query: Sequences) -> Floats:
        """Return cosines ``[B, V]``; -inf for what is no candidate, and for users without events."""
        scores = np.full((query.num_users, self.num_codes), -np.inf, np.float32)
        asked = np.flatnonzero(query.lengths > 0)
        if len(asked):
            user_vecs = self.encode_users(query.take(asked))
            scores[np.ix_(asked, self.candidates)] = user_vecs @ self.candidate_vecs.T
        return scores


def run_exported(session: Any, max_length: int, query: Sequences) -> Floats:
    """Return unit vectors ``[Q, D]``."""
    vecs = []
    for users in _slices(query):
        inputs = encode_history(users, max_length=max_length).padded()
        vecs.append(session.run([OUTPUT], {name: inputs[name] for name in INPUTS})[0])
    return np.concatenate(vecs)


def _run_towers(towers: Towers, query: Sequences) -> Floats:
    """Return unit vectors ``[Q, D]``."""
    return np.concatenate([user_vectors(towers, users).numpy() for users in _slices(query)])


def _slices(query: Sequences) -> Iterator[Sequences]:
    """Yield some users at a time: the tower's own arrays grow with users x length."""
    for start in range(0, query.num_users, _USERS_A_RUN):
        yield query.take(np.arange(start, min(start + _USERS_A_RUN, query.num_users)))
