"""The nearest items to a user vector: approximate where that is safe, exact where little is left to rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import faiss
import numpy as np
import numpy.typing as npt

from features.errors import ReleaseError
from features.recommendations import Recommendations
from features.vocabulary import FIRST

Ints = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float32]

# Where the index would have to rank more than this share of all items, ranking them all is as quick and exact.
_DEEPEST_SHARE: Final = 0.25
# Where a filter leaves less than this share, too few of the nearest pass it: an exact search loses none.
_NARROW_SHARE: Final = 0.5
# Those that pass are not spread evenly: look this much deeper than their share asks for.
_HEADROOM: Final = 1.25


@dataclass(frozen=True, kw_only=True, eq=False)
class Ask:
    """One user's question to the index.

    Args:
        k: the most items wanted.
        excluded: item codes that must not be answered.
        allowed: item codes that may be answered, rising; all that are available where ``None``.
    """

    k: int
    excluded: Ints
    allowed: Ints | None = None


class ItemIndex:
    """Item vectors and a FAISS index over them, searched on one thread.

    Args:
        vectors: float32 ``[V, d]``, unit length.
        index: inner product; ids are item codes.
        available: bool ``[V]``; may be shown, where the index holds it as well.
    """

    def __init__(self, *, vectors: Floats, index: faiss.Index, available: npt.NDArray[np.bool_]) -> None:
        faiss.omp_set_num_threads(1)
        self.vectors = np.asarray(vectors)  # a plain view of a mapped file: quicker to index
        self._index = index
        self._available = available & _indexed(index, len(available))
        self._available[:FIRST] = False
        self._available_codes = np.flatnonzero(self._available)

    @classmethod
    def load(cls, *, vectors: Path, index: Path, available: npt.NDArray[np.bool_]) -> ItemIndex:
        """Read a part's vectors and index.

        Raises:
            ReleaseError: they do not fit together.
        """
        rows = np.load(vectors, mmap_mode="r", allow_pickle=False)
        searcher = faiss.read_index(str(index))
        if rows.shape != (len(available), searcher.d):
            raise ReleaseError(
                f"{vectors}: expected vectors [{len(available)}, {searcher.d}] to fit the catalogue and the index, "
                f"found {list(rows.shape)}; train the part again."
            )
        return cls(vectors=rows, index=searcher, available=available)

    @property
    def num_available(self) -> int:
        """Items that may be shown."""
        return len(self._available_codes)

    def shows(self, codes: Ints) -> npt.NDArray[np.bool_]:
        """Return which items may be shown, bool, one a code."""
        return self._available[codes]

    def search(self, user_vecs: Floats, asks: Sequence[Ask]) -> Recommendations:
        """Return the best items of each question, best first.

        Excluded and filtered items cost no places: a list is shorter than ``k`` only where fewer items
        are left.

        Args:
            user_vecs: float32 ``[Q, d]``.
            asks: ``[Q]``.
        """
        depths = np.array([self._depth(ask) for ask in asks])
        near = np.flatnonzero(depths > 0)
        lists: list[tuple[Ints, Floats]] = [(np.zeros(0, np.int64), np.zeros(0, np.float32))] * len(asks)
        if len(near):
            scores, codes = self._index.search(np.ascontiguousarray(user_vecs[near]), int(depths[near].max()))
            for row, question in enumerate(near.tolist()):
                lists[question] = self._allowed_of(codes[row], scores[row], asks[question])
        for question, ask in enumerate(asks):
            if len(lists[question][0]) < ask.k:
                lists[question] = self.search_exactly(user_vecs[question], ask)
        return Recommendations.from_lists([codes for codes, _ in lists], [scores for _, scores in lists])

    def search_exactly(self, user_vec: Floats, ask: Ask) -> tuple[Ints, Floats]:
        """Rank every item that may be answered; ties go to the smaller code."""
        codes = self._available_codes if ask.allowed is None else ask.allowed[self._available[ask.allowed]]
        codes = codes[~np.isin(codes, ask.excluded)] if len(ask.excluded) else codes
        scores = self.vectors[codes] @ user_vec  # [C]
        if len(codes) > ask.k:
            # All that tie with the last place stay until the codes decide.
            best = scores >= np.partition(scores, -ask.k)[-ask.k]
            codes, scores = codes[best], scores[best]
        order = np.lexsort((codes, -scores))[: ask.k]
        return codes[order], scores[order].astype(np.float32)

    def _depth(self, ask: Ask) -> int:
        """How deep to search so that ``k`` items remain, with room to spare; 0 to rank exactly."""
        num_allowed = self.num_available if ask.allowed is None else len(ask.allowed)
        share = min(1.0, num_allowed / max(1, self._index.ntotal))  # of what the index holds
        if share < _NARROW_SHARE:
            return 0
        wanted = ask.k + len(ask.excluded)
        depth = wanted if share == 1.0 else int(_HEADROOM * wanted / share) + 8
        return depth if depth <= _DEEPEST_SHARE * self.num_available else 0

    def _allowed_of(self, codes: Ints, scores: Floats, ask: Ask) -> tuple[Ints, Floats]:
        held = codes >= FIRST
        held[held] = self._available[codes[held]]
        if len(ask.excluded):
            held &= ~self._marked(ask.excluded)[codes]
        if ask.allowed is not None:
            held &= self._marked(ask.allowed)[codes]
        return codes[held][: ask.k], scores[held][: ask.k]

    def _marked(self, codes: Ints) -> npt.NDArray[np.bool_]:
        """Return which codes are among these, bool ``[V]``; quicker than a search where lists are short."""
        marked = np.zeros(len(self._available), bool)
        marked[codes] = True
        return marked


def _indexed(index: faiss.Index, num_codes: int) -> npt.NDArray[np.bool_]:
    """Return which codes an index holds, bool ``[V]``: all where it has no map of ids."""
    if not hasattr(index, "id_map"):
        return np.ones(num_codes, bool)
    held = np.zeros(num_codes, bool)
    held[faiss.vector_to_array(index.id_map)] = True
    return held
