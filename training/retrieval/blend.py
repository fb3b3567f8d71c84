"""Fit the blend of known and new items on the validation window."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from features.chances.logistic import QuadraticLogit
from features.recommendations import Recommendations
from features.release import Part, layout
from features.repeats.blend import NEW, REPEAT, ForYouBlend, new_variables, repeat_variables
from features.repeats.repurchase import RepurchaseModel
from features.sequences import Sequences
from features.splits import Holdout
from training.retrieval.content_prior import ContentPrior
from training.retrieval.ensemble import Towers
from training.retrieval.for_you import candidates_for, instant_of, repeats_for
from training.retrieval.learn import Lesson
from training.retrieval.recommender import TwoTowerRecommender

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
_MOST_USERS: Final = 20_000  # 200 new items each: far more than a few coefficients need, and half a gigabyte
logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Habits:
    """What a part holds besides the towers so that its lists may repeat what a customer knows.

    Args:
        repurchase: chances of known items.
        blend: joins them with new ones.
    """

    repurchase: RepurchaseModel
    blend: ForYouBlend

    @classmethod
    def fit(
        cls,
        towers: Towers,
        lesson: Lesson,
        *,
        as_of_us: int,
        horizon_days: int,
        blend: ForYouBlend | None = None,
        prior: ContentPrior | None = None,
    ) -> Habits:
        """Learn from a lesson's sequences, and the blend from its validation window.

        Args:
            towers: trained on the lesson.
            lesson: sequences and validation window.
            as_of_us: end of the sequences and start of that window; 0 where the split has no instants.
            horizon_days: how far ahead a chance looks: the length of the window.
            blend: taken as it is where given, for a lesson without a validation window.
            prior: what moves the item vectors when they are exported.
        """
        end_us = as_of_us or _end_of(lesson.fit)
        repurchase = RepurchaseModel.fit(lesson.fit, lesson.catalog, as_of_us=end_us, horizon_days=horizon_days)
        if blend is None:
            assert lesson.validation is not None, "a blend is fitted on a validation window, or given"
            tower = TwoTowerRecommender.from_towers(towers, lesson.candidates, prior=prior)
            blend = fit_blend(tower, repurchase, lesson.validation, now_us=as_of_us or None)
        return cls(repurchase=repurchase, blend=blend)

    @classmethod
    def of_part(cls, part: Part) -> Habits:
        """Read those of a part.

        Raises:
            ReleaseError: the part has none.
        """
        return cls(
            repurchase=RepurchaseModel.load(part.path(layout.REPURCHASE)),
            blend=ForYouBlend.load(part.path(layout.BLEND)),
        )

    def save(self, directory: Path) -> None:
        """Write both files of a part."""
        self.repurchase.save(directory / layout.REPURCHASE)
        self.blend.save(directory / layout.BLEND)


def _end_of(sequences: Sequences) -> int:
    return int(sequences.ts.max()) + 1 if sequences.num_events and sequences.ts.any() else 0


def fit_blend(
    tower: TwoTowerRecommender, repurchase: RepurchaseModel, holdout: Holdout, *, now_us: int | None
) -> ForYouBlend:
    """Return the blend whose chances fit what the holdout's customers chose.

    Args:
        tower: finds what is new; has learned nothing from the holdout's targets.
        repurchase: scores what is known; neither has it.
        holdout: the validation window.
        now_us: its first instant; just after each history's last event where left out.
    """
    holdout = some_users(holdout)
    instant = instant_of(holdout.query, now_us)
    timed = candidates_for(holdout.query, tower, repurchase, repeat="discount", now_us=instant)
    untimed = repeats_for(holdout.query, tower, repurchase, repeat="allow", now_us=instant)
    plain = ForYouBlend.plain()
    return ForYouBlend(
        new=_fitted("new", NEW, new_variables(timed.new, timed.repeats), chosen(timed.new, holdout.targets))
        or plain.new,
        repeat_timed=_fit_repeats("known, timed", timed.repeats, timed.repeat_cosines, holdout) or plain.repeat_timed,
        repeat_untimed=_fit_repeats("known, untimed", *untimed, holdout) or plain.repeat_untimed,
    )


def some_users(holdout: Holdout, most: int = _MOST_USERS) -> Holdout:
    """Return a holdout of at most ``most`` users, the same ones each time."""
    if holdout.num_users <= most:
        return holdout
    kept = np.sort(np.random.default_rng(0).choice(holdout.num_users, most, replace=False))
    return Holdout(users=holdout.users[kept], query=holdout.query.take(kept), targets=holdout.targets.take(kept))


def chosen(lists: Recommendations, targets: Sequences) -> Bools:
    """Return whether each entry of ``Q`` lists is among its user's targets."""
    stride = 1 + max(int(lists.item.max(initial=0)), int(targets.item.max(initial=0)))
    user = np.repeat(np.arange(lists.num_lists), np.diff(lists.offsets))
    return np.isin(user * stride + lists.item, targets.user_of_event * stride + targets.item)


def _fit_repeats(what: str, repeats: Recommendations, cosines: Floats, holdout: Holdout) -> QuadraticLogit | None:
    return _fitted(what, REPEAT, repeat_variables(repeats, cosines), chosen(repeats, holdout.targets))


def _fitted(what: str, names: tuple[str, ...], x: npt.NDArray[np.floating], came: Bools) -> QuadraticLogit | None:
    fitted = QuadraticLogit.fit(names, x, came) if len(came) else None
    logger.info(
        "blend, %s: %d of %d items chosen%s", what, came.sum(), len(came), "" if fitted else "; too few to learn from"
    )
    return fitted
