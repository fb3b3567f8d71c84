"""Fit the blend of known and new items on the validation window."""

from __future__ import annotations

import logging
from typing import Literal

import numpy as np
import numpy.typing as npt

from features.blend import NEW, REPEAT, ForYouBlend, new_variables, repeat_variables
from features.logistic import QuadraticLogit
from features.recommendations import Recommendations
from features.repurchase import RepurchaseModel
from features.sequences import Sequences
from features.splits import Holdout
from training.retrieval.for_you import Candidates, candidates_for, instant_of
from training.retrieval.recommender import TwoTowerRecommender

Bools = npt.NDArray[np.bool_]
logger = logging.getLogger(__name__)


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
    found = {
        repeat: candidates_for(
            holdout.query, tower, repurchase, repeat=repeat, now_us=instant_of(holdout.query, now_us)
        )
        for repeat in _SETTINGS
    }
    timed, untimed = found["discount"], found["allow"]
    plain = ForYouBlend.plain()
    return ForYouBlend(
        new=_fitted("new", NEW, new_variables(timed.new, timed.repeats), chosen(timed.new, holdout.targets))
        or plain.new,
        repeat_timed=_fit_repeats(timed, holdout) or plain.repeat_timed,
        repeat_untimed=_fit_repeats(untimed, holdout) or plain.repeat_untimed,
    )


_SETTINGS: tuple[Literal["discount", "allow"], ...] = ("discount", "allow")


def chosen(lists: Recommendations, targets: Sequences) -> Bools:
    """Return whether each entry of ``Q`` lists is among its user's targets."""
    stride = 1 + max(int(lists.item.max(initial=0)), int(targets.item.max(initial=0)))
    user = np.repeat(np.arange(lists.num_lists), np.diff(lists.offsets))
    return np.isin(user * stride + lists.item, targets.user_of_event * stride + targets.item)


def _fit_repeats(found: Candidates, holdout: Holdout) -> QuadraticLogit | None:
    x = repeat_variables(found.repeats, found.repeat_cosines)
    return _fitted("known", REPEAT, x, chosen(found.repeats, holdout.targets))


def _fitted(what: str, names: tuple[str, ...], x: npt.NDArray[np.floating], came: Bools) -> QuadraticLogit | None:
    fitted = QuadraticLogit.fit(names, x, came) if len(came) else None
    logger.info(
        "blend: %d of %d %s items chosen%s", came.sum(), len(came), what, "" if fitted else "; too few to learn from"
    )
    return fitted
