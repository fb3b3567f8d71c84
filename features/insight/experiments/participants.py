"""The users of a test, checked: who counts, in which arm, and who does not and why."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from features import columns as c
from features.errors import ConfigError, DataError, did_you_mean
from features.insight.collecting import collected
from features.insight.experiments.assignments import ARM, ASSIGNED_US, NUM_ARMS
from features.insight.experiments.definition import CONTROL, HOLDOUT, ExperimentDefinition
from features.insight.experiments.measure import Metric
from features.insight.experiments.outcomes import HAS_PAST, UNTIL_US, parts_of
from features.insight.experiments.samples import Sample

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Participants:
    """Users who were in one arm and no other.

    Args:
        definition: of the test.
        frame: rows of ``outcomes``, in order of assignment (ties by user_id).
        arms: names; the control first, the others by name.
        num_crossed: users found in several arms, left out of everything.
        until_us: the end of what was read of the log, UTC microseconds.
    """

    definition: ExperimentDefinition
    frame: pd.DataFrame
    arms: tuple[str, ...]
    num_crossed: int
    until_us: int

    @classmethod
    def of(cls, outcomes: object, definition: ExperimentDefinition) -> Participants:
        """Check the outcomes of a test.

        Args:
            outcomes: a frame of any engine, from ``outcomes``; further columns are kept.
            definition: of the test.

        Raises:
            DataError: nobody is in the test, or in one arm alone, or in an arm that has no share; nobody did anything
                that is measured; no window has ended.
            ConfigError: the control is none of the arms.
        """
        every = collected(outcomes)
        name = f"experiment {definition.name!r}"
        if every.empty:
            raise DataError(f"{name}: expected users who were assigned to an arm, found none.")
        if every[UNTIL_US].isna().all():
            raise DataError(f"{name}: expected events in the log, found none.")
        if every[c.USER_ID].duplicated().any():
            twice = every.loc[every[c.USER_ID].duplicated(), c.USER_ID].iloc[0]
            raise DataError(f"{name}: expected one row of segments a user, found several of {twice!r}; settle on one.")
        kept = every[every[NUM_ARMS] == 1]
        arms = _arms(kept, definition, name)
        found = cls(
            definition=definition,
            frame=kept.sort_values([ASSIGNED_US, c.USER_ID], kind="stable", ignore_index=True),
            arms=arms,
            num_crossed=len(every) - len(kept),
            until_us=int(every[UNTIL_US].iloc[0]),
        )
        found._check_outcomes(name)
        counts = ", ".join(f"{arm} {number:,}" for arm, number in zip(arms, found.counts, strict=True))
        logger.info("%s: %d users in, %d in several arms set aside; %s", name, len(every), found.num_crossed, counts)
        return found

    @property
    def arm(self) -> npt.NDArray[np.int64]:
        """Each user's arm, as a place in ``arms``, ``[N]``."""
        return pd.Categorical(self.frame[ARM], categories=list(self.arms)).codes.astype(np.int64)

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """Users of each arm, ``[A]``."""
        return np.bincount(self.arm, minlength=len(self.arms))

    def ended(self, metric: Metric) -> npt.NDArray[np.bool_]:
        """Return whose window has ended, ``[N]``; without a window, who was assigned before the end of the log."""
        until = self.frame[ASSIGNED_US].to_numpy(np.int64) + (metric.window_us or 0)
        return until <= self.until_us if metric.window_us else until < self.until_us

    def sample(self, metric: Metric, rows: npt.NDArray[np.bool_] | None = None) -> Sample:
        """Return a metric of the users whose window has ended, in order of assignment, not yet winsorised.

        Args:
            metric: of the definition.
            rows: some of the users, ``[N]``; all where left out.
        """
        kept = self.ended(metric) if rows is None else self.ended(metric) & rows
        table = self.frame[kept]
        names = {"value": "", "per": "__per", "before": "__before", "per_before": "__per_before"}
        known = parts_of(metric)
        parts = {
            part: table[metric.name + end].to_numpy(np.float64)
            for part, end in names.items()
            if metric.name + end in known
        }
        return Sample(
            arm=self.arm[kept], num_arms=len(self.arms), has_past=table[HAS_PAST].to_numpy(np.int64) > 0, **parts
        )

    def _check_outcomes(self, name: str) -> None:
        metrics = self.definition.metrics
        if not any(self.ended(metric).any() for metric in metrics):
            shortest = min(metric.window_days or 0 for metric in metrics)
            raise DataError(
                f"{name}: expected users whose window of {shortest:g} days or more has ended by the end of the log, found none; "
                "shorten window_days or wait."
            )
        if not any(self.frame[metric.name].any() for metric in metrics):
            types = sorted({event for metric in metrics for event in metric.value.of})
            raise DataError(
                f"{name}: expected an outcome ({', '.join(types)}) of at least one user after the assignment, found none in "
                f"any arm; check that the ids of the assignments ({self.frame[c.USER_ID].iloc[0]!r}) are those of the events."
            )


def _arms(kept: pd.DataFrame, definition: ExperimentDefinition, name: str) -> tuple[str, ...]:
    found = sorted(map(str, kept[ARM].unique()))
    listed = ", ".join(f"{arm!r} ({int((kept[ARM] == arm).sum()):,} users)" for arm in found)
    for arm in definition.weights:
        if arm not in found:
            raise DataError(
                f"{name}: expected users in the arm {arm!r} of weights, found {listed or 'none'}."
                f"{did_you_mean(arm, found)}"
            )
    if len(found) < 2:
        raise DataError(
            f"{name}: expected two arms or more, found {listed or 'none'}; nothing can be said of an arm without another "
            "that differs from it by chance alone."
        )
    unknown = [arm for arm in found if definition.weights and arm not in definition.weights]
    if unknown:
        raise DataError(
            f"{name}: expected the arms of weights ({', '.join(definition.weights)}), found {unknown[0]!r} too; give it "
            "its share."
        )
    return _control_first(found, definition, name)


def _control_first(found: list[str], definition: ExperimentDefinition, name: str) -> tuple[str, ...]:
    control = definition.control or next((arm for arm in (CONTROL, HOLDOUT) if arm in found), "")
    if control not in found:
        hint = did_you_mean(control, found)
        raise ConfigError(
            f"{name}: expected control to be one of {', '.join(found)}, found {control or 'none'}; say which arm the "
            f"others are compared with.{hint}"
        )
    return (control, *(arm for arm in found if arm != control))
