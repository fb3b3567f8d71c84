"""The nearest items to a user vector: approximate where that is safe, exact where little is left to rank."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import faiss
import numpy as np
import numpy.typing as npt

from features.errors import ReleaseError
from features.recommendations import Recommendations
from features.release import layout
from features.vocabulary import FIRST
from serving.retrieval.cell_index import CellIndex
from serving.retrieval.nearest import Nearest, scores_of

Ints = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float32]

# Where the index would have to rank more than this share of all items, ranking them all is as quick and exact.
_DEEPEST_SHARE: Final = 0.25
# Where a filter leaves less than this share, what it leaves is ranked exactly: no slower, and it loses none.
_NARROW_SHARE: Final = 0.25
# The same for so few items, whatever their share.
_FEW_ITEMS: Final = 40_000
# So many excluded items are looked past at first: of a long history most are not near.
_HOPED_EXCLUDED: Final = 32
# Histories as long as this, give or take, are looked past alike, so that one search answers many.
_ASKED_TOGETHER: Final = 16
# Those that pass are not spread evenly: look this much deeper than their share asks for.
_HEADROOM: Final = 1.25
# So much deeper again where a filter left too few.
_DEEPER: Final = 4
_NOTHING: Final = (np.zeros(0, np.int64), np.zeros(0, np.float32))


@dataclass(frozen=True, kw_only=True, eq=False)
class Ask:
    """One user's question to the index.

    Args:
        k: the most items wanted.
        excluded: item codes that must not be answered, rising.
        allowed: item codes that may be answered, rising; all that are available where ``None``. What is not available is
            never answered; where it stands here, more seems to be left than is.
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

    def __init__(self, *, vectors: Floats, index: faiss.Index | CellIndex, available: npt.NDArray[np.bool_]) -> None:
        self.vectors = np.asarray(vectors)  # a plain view of a mapped file: quicker to index
        self._nearest = index if isinstance(index, CellIndex) else Nearest(index)
        self._available = np.zeros(len(available), bool)
        self._available[self._nearest.codes] = available[self._nearest.codes]
        self._available[:FIRST] = False
        self._available_codes = np.flatnonzero(self._available)

    @classmethod
    def load(cls, *, vectors: Path, index: Path, available: npt.NDArray[np.bool_]) -> ItemIndex:
        """Read a part's vectors and index.

        Raises:
            ReleaseError: they do not fit together.
        """
        rows = np.load(vectors, mmap_mode="r", allow_pickle=False)
        is_mapped = index.with_name(layout.INDEX_SEARCH).exists()
        searcher = CellIndex(index.parent, rows) if is_mapped else faiss.read_index(str(index))
        dim = searcher.dim if isinstance(searcher, CellIndex) else searcher.d
        if rows.shape != (len(available), dim):
            raise ReleaseError(
                f"{vectors}: expected vectors [{len(available)}, {dim}] to fit the catalogue and the index, "
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
        lists: list[tuple[Ints, Floats]] = [_NOTHING] * len(asks)
        for most_excluded in (_HOPED_EXCLUDED, None):  # as if few of them were near, then all where that was too few
            short = [row for row, ask in enumerate(asks) if len(lists[row][0]) < ask.k]
            for depth, rows in self._by_depth(asks, short, most_excluded).items():
                scores, codes, shown = self.nearest(user_vecs[rows], depth)
                for at, row in enumerate(rows):
                    lists[row] = self._kept(codes[at], scores[at], shown[at], asks[row])
        for row, ask in enumerate(asks):
            if len(lists[row][0]) < ask.k:
                lists[row] = self.search_exactly(user_vecs[row], ask)
        return lined_up(lists)

    def nearest(self, user_vecs: Floats, depth: int) -> tuple[Floats, Ints, npt.NDArray[np.bool_]]:
        """Return what the index finds so deep, best first: scores, codes, and which of them may be shown, ``[Q, depth]``."""
        scores, codes = self._nearest.search(user_vecs, depth)
        return scores, codes, (codes >= FIRST) & self._available[codes]  # -1, where there is none, is not

    def first_depth(self, k: int, num_excluded: int) -> int:
        """Return how deep ``search`` looks at first for someone with so many excluded items and no filter; 0: not at all."""
        asked = Ask(k=k, excluded=np.zeros(0, np.int64))
        return self._depth(asked, min(num_excluded, _HOPED_EXCLUDED), factor=1)

    def search_exactly(self, user_vec: Floats, ask: Ask) -> tuple[Ints, Floats]:
        """Rank every item that may be answered; ties go to the smaller code."""
        codes = self._available_codes if ask.allowed is None else ask.allowed[self._available[ask.allowed]]
        codes = codes[~_are_among(codes, ask.excluded)] if len(ask.excluded) else codes
        scores = scores_of(self.vectors, codes, user_vec)  # [C]
        if len(codes) > ask.k:
            # All that tie with the last place stay until the codes decide.
            best = scores >= np.partition(scores, -ask.k)[-ask.k]
            codes, scores = codes[best], scores[best]
        order = np.lexsort((codes, -scores))[: ask.k]
        return codes[order], scores[order]

    def _by_depth(self, asks: Sequence[Ask], short: Sequence[int], most_excluded: int | None) -> dict[int, list[int]]:
        """Return the questions that the index can answer, by how deep it is to look: one that asks for much costs no other.

        Args:
            asks: all questions.
            short: those without a list so far.
            most_excluded: what is excluded counts for so many items; those of which that was tried already where ``None``.
        """
        rows: dict[int, list[int]] = defaultdict(list)
        for row in short:
            num_excluded = len(asks[row].excluded)
            is_filtered = asks[row].allowed is not None
            if most_excluded is None and num_excluded <= _HOPED_EXCLUDED and not is_filtered:
                continue
            # A filter may take just what is nearest, such as a category: then its share says little.
            factor = _DEEPER if is_filtered and most_excluded is None else 1
            if depth := self._depth(asks[row], min(num_excluded, most_excluded or num_excluded), factor=factor):
                rows[depth].append(row)
        return rows

    def _depth(self, ask: Ask, num_excluded: int, *, factor: int) -> int:
        """How deep to search so that ``k`` items remain, with room to spare; 0 not to ask the index."""
        share = self._share(ask)
        if share < _NARROW_SHARE or (ask.allowed is not None and len(ask.allowed) <= _FEW_ITEMS):
            return 0
        wanted = ask.k + -(-num_excluded // _ASKED_TOGETHER) * _ASKED_TOGETHER
        depth = factor * (wanted if share == 1.0 else int(_HEADROOM * wanted / share) + 8)
        return depth if depth <= _DEEPEST_SHARE * self.num_available else 0

    def _share(self, ask: Ask) -> float:
        """Return how much of what the index holds may be answered."""
        num_allowed = self.num_available if ask.allowed is None else len(ask.allowed)
        return min(1.0, num_allowed / max(1, self._nearest.num_items))

    def _kept(self, codes: Ints, scores: Floats, shown: npt.NDArray[np.bool_], ask: Ask) -> tuple[Ints, Floats]:
        """Return the first ``k`` of those shown that a question allows."""
        if len(ask.excluded):
            shown = shown & ~_are_among(codes, ask.excluded)
        if ask.allowed is not None:
            shown = shown & _are_among(codes, ask.allowed)
        if shown.all():
            return codes[: ask.k], scores[: ask.k]
        return codes[shown][: ask.k], scores[shown][: ask.k]


def _are_among(codes: Ints, rising: Ints) -> npt.NDArray[np.bool_]:
    """Return which codes stand in a rising list, bool; what that takes does not grow with the catalogue."""
    return np.asarray(rising.searchsorted(codes, "right") != rising.searchsorted(codes))


def lined_up(lists: Sequence[tuple[Ints, Floats]]) -> Recommendations:
    """Return lists that are known to fall; checking them again would take longer than putting them in a row."""
    if not lists:
        return Recommendations.from_lists([], [])
    offsets = np.zeros(len(lists) + 1, np.int64)
    np.cumsum([len(codes) for codes, _ in lists], out=offsets[1:])
    item, score = (np.concatenate(column) for column in zip(*lists, strict=True))
    return Recommendations(offsets=offsets, item=item, score=score)
