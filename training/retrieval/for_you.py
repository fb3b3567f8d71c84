"""The list that is served as ``for_you``, as a recommender, from an exported part alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from features.recommendations import Recommendations
from features.release import Part, layout
from features.repeats.blend import NUM_NEW, ForYouBlend
from features.repeats.repurchase import RepurchaseModel
from features.sequences import Sequences
from features.settings import Repeat
from training.retrieval.recommender import TwoTowerRecommender

Ints = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float32]

NAME: Final = "for_you"
_USERS_A_BATCH: Final = 4_096


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidates:
    """What competes for a place in the list of each of Q users.

    Args:
        new: best items that the user has not met, with their cosines.
        repeats: items that the user has met, with the repurchase model's chances.
        repeat_cosines: of ``repeats``, float32.
    """

    new: Recommendations
    repeats: Recommendations
    repeat_cosines: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class ForYouRecommender:
    """Blends what is bought again with what is new, by the functions that the service calls.

    Args:
        tower: finds what is new.
        repurchase: scores what is known.
        blend: joins both.
        repeat: the shop's setting, see ``ShopSettings``.
        now_us: the instant at which lists are asked for; just after a history's last event where left out.
        name: in reports.
    """

    tower: TwoTowerRecommender
    repurchase: RepurchaseModel
    blend: ForYouBlend
    repeat: Repeat
    now_us: int | None = None
    name: str = NAME

    @classmethod
    def from_part(cls, part: Part, *, now_us: int | None, repeat: Repeat | None = None) -> ForYouRecommender:
        """Open a checked part; the setting is the part's where left out.

        Raises:
            ReleaseError: the part lacks one of its files.
        """
        return cls(
            tower=TwoTowerRecommender.from_part(part),
            repurchase=RepurchaseModel.load(part.path(layout.REPURCHASE)),
            blend=ForYouBlend.load(part.path(layout.BLEND)),
            repeat=part.about["repeat"] if repeat is None else repeat,
            now_us=now_us,
        )

    def recommend(self, query: Sequences, *, k: int, exclude_seen: bool) -> Recommendations:
        """See ``Recommender``; with ``exclude_seen`` the list is the two-tower's."""
        parts = [
            self._batch(query.take(np.arange(start, min(start + _USERS_A_BATCH, query.num_users))), k, exclude_seen)
            for start in range(0, query.num_users, _USERS_A_BATCH)
        ]
        if not parts:
            return Recommendations.from_lists([], [])
        lengths = np.concatenate([np.diff(part.offsets) for part in parts])
        return Recommendations(
            offsets=np.concatenate([[0], np.cumsum(lengths)]),
            item=np.concatenate([part.item for part in parts]),
            score=np.concatenate([part.score for part in parts]),
        )

    def _batch(self, query: Sequences, k: int, exclude_seen: bool) -> Recommendations:
        if exclude_seen:
            return self.tower.recommend(query, k=k, exclude_seen=True)
        found = candidates_for(
            query,
            self.tower,
            self.repurchase,
            repeat=self.repeat,
            now_us=instant_of(query, self.now_us),
            num_new=max(NUM_NEW, k),
        )
        timing = self.repeat == "discount"
        return self.blend.combine(found.new, found.repeats, found.repeat_cosines, k=k, timing=timing)


@dataclass(frozen=True, kw_only=True, eq=False)
class BuyItAgain:
    """What each customer bought before, by the repurchase model alone.

    Args:
        repurchase: scores what is known.
        candidates: bool ``[V]``, which items may be shown.
        timing: whether the time since the last purchase counts.
        now_us: as in ``ForYouRecommender``.
        name: in reports.
    """

    repurchase: RepurchaseModel
    candidates: npt.NDArray[np.bool_]
    timing: bool
    now_us: int | None = None
    name: str = "buy it again"

    @classmethod
    def from_part(cls, part: Part, *, candidates: npt.NDArray[np.bool_], now_us: int | None) -> BuyItAgain:
        """Open a checked part, with its shop's setting; repeats that the shop excludes are ranked by timing.

        Raises:
            ReleaseError: the part has no repurchase model.
        """
        return cls(
            repurchase=RepurchaseModel.load(part.path(layout.REPURCHASE)),
            candidates=candidates,
            timing=part.about["repeat"] != "allow",
            now_us=now_us,
        )

    def recommend(self, query: Sequences, *, k: int, exclude_seen: bool) -> Recommendations:
        """See ``Recommender``; nothing where seen items are excluded."""
        found = self.repurchase.score(query, now_us=instant_of(query, self.now_us), timing=self.timing)
        found = found.where(self.candidates[found.item] & (not exclude_seen))
        rank = np.arange(len(found.item)) - np.repeat(found.offsets[:-1], np.diff(found.offsets))
        return found.where(rank < k)


def candidates_for(
    query: Sequences,
    tower: TwoTowerRecommender,
    repurchase: RepurchaseModel,
    *,
    repeat: Repeat,
    now_us: int | Ints,
    num_new: int = NUM_NEW,
) -> Candidates:
    """Return what competes for the lists of some users; items that may not be shown take no part."""
    repeats, cosines = repeats_for(query, tower, repurchase, repeat=repeat, now_us=now_us)
    new = tower.recommend(query, k=num_new, exclude_seen=True)
    return Candidates(new=new, repeats=repeats, repeat_cosines=cosines)


def repeats_for(
    query: Sequences,
    tower: TwoTowerRecommender,
    repurchase: RepurchaseModel,
    *,
    repeat: Repeat,
    now_us: int | Ints,
) -> tuple[Recommendations, Floats]:
    """Return what users have met and may be shown again, with the cosine of each, float32."""
    repeats = repurchase.score(
        query, now_us=now_us, timing=repeat == "discount", kind="met" if repeat == "exclude" else "all"
    )
    place = np.full(tower.num_codes, -1)
    place[tower.candidates] = np.arange(len(tower.candidates))
    repeats = repeats.where(place[repeats.item] >= 0)
    asked = np.flatnonzero(query.lengths > 0)
    user_vecs = np.zeros((query.num_users, tower.candidate_vecs.shape[1]), np.float32)
    if len(asked):
        user_vecs[asked] = tower.encode_users(query.take(asked))
    user = np.repeat(np.arange(query.num_users), np.diff(repeats.offsets))
    return repeats, _cosines(user_vecs, user, tower.candidate_vecs, place[repeats.item])


def instant_of(query: Sequences, now_us: int | None) -> int | Ints:
    """Return the given instant, or the one just after each user's last event, ``[Q]``."""
    if now_us is not None:
        return now_us
    last = np.zeros(query.num_users, np.int64)
    held = query.lengths > 0
    last[held] = query.ts[query.offsets[1:][held] - 1] + 1
    return last


def _cosines(user_vecs: Floats, user: Ints, item_vecs: Floats, row: Ints) -> Floats:
    """Return the products of pairs of rows, a slice at a time: gathered vectors are as long as all histories."""
    found = np.empty(len(user), np.float32)
    for start in range(0, len(user), 65_536):
        span = slice(start, start + 65_536)
        found[span] = np.einsum("md,md->m", user_vecs[user[span]], item_vecs[row[span]])
    return found
