"""All tables of one test, and what stands against trusting them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import narwhals as nw
import pandas as pd

from features import columns as c
from features.errors import DataError
from features.insight.experiments.balance import Balance, balance
from features.insight.experiments.definition import ExperimentDefinition
from features.insight.experiments.dilution import dilution
from features.insight.experiments.outcomes import HAS_PAST, outcomes
from features.insight.experiments.participants import Participants
from features.insight.experiments.planning import Plan, plan_table
from features.insight.experiments.results import arm_means, capped_at, lifts, looks_so_far
from features.insight.experiments.segments import heterogeneity, lifts_by_segment
from features.tables.sql import run

FrameT = TypeVar("FrameT")


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """Something that stands against trusting a test.

    Args:
        name: ``sample_ratio``, ``crossed``, ``no_outcome``, ``uncapped``, ``no_past`` or ``one_look``.
        text: a sentence with its figures.
    """

    name: str
    text: str


@dataclass(frozen=True, kw_only=True, eq=False)
class ExperimentAnalysis:
    """What one test says.

    Args:
        participants: its users.
        balance: their numbers.
        means: see ``results.arm_means``.
        lifts: see ``results.lifts``.
        plan: see ``planning.plan_table``: what a next test needs.
        looks: see ``results.looks_so_far``; nothing where no looks are planned.
        exposure: see ``dilution.dilution``; nothing where the definition has no exposure.
        segments: column -> see ``segments.lifts_by_segment``.
        heterogeneity: column -> see ``segments.heterogeneity``.
        alarms: most serious first.
    """

    participants: Participants
    balance: Balance
    means: pd.DataFrame
    lifts: pd.DataFrame
    plan: pd.DataFrame
    looks: pd.DataFrame | None = None
    exposure: pd.DataFrame | None = None
    segments: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    heterogeneity: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    alarms: tuple[Alarm, ...] = ()

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """All tables by name, for files."""
        found = {"lifts": self.lifts, "means": self.means, "balance": self.balance.table, "plan": self.plan}
        more = {"looks": self.looks, "exposure": self.exposure}
        found |= {name: table for name, table in more.items() if table is not None}
        found |= {f"segments_{column}": table for column, table in self.segments.items()}
        return found | {f"differences_{column}": table for column, table in self.heterogeneity.items()}


def analyse_experiment(
    events: FrameT,
    assignments: FrameT,
    definition: ExperimentDefinition,
    *,
    segments: FrameT | None = None,
    until_us: int | None = None,
    newcomers: Sequence[float] = (),
) -> ExperimentAnalysis:
    """Return what a randomised test says.

    Args:
        events: rows of the event log that may serve analytics; of any engine.
        assignments: user_id, arm, assigned_us or assigned_at; of the same engine (``assignments``).
        definition: metrics, control, looks.
        segments: user_id and columns that were settled before the assignment, one row a user.
        until_us: what happened from this instant on is not read.
        newcomers: customers by day who came for the first time (``traffic``), so that the plan of a next test has days.

    Raises:
        DataError: there are no users, one arm alone, no outcome, or no column of segments.
        ConfigError: the control is none of the arms.
    """
    found = outcomes(events, assignments, definition, until_us=until_us)
    columns = [] if segments is None else _segment_columns(segments)
    participants = Participants.of(found if segments is None else _joined(found, segments, columns), definition)
    by_segment = {column: lifts_by_segment(participants, column) for column in columns}
    sizes = balance(participants)
    return ExperimentAnalysis(
        participants=participants,
        balance=sizes,
        means=arm_means(participants),
        lifts=lifts(participants),
        plan=plan_table(participants, plan=Plan(alpha=definition.alpha), newcomers=newcomers),
        looks=None if definition.looks is None else looks_so_far(participants),
        exposure=None if definition.exposure is None else dilution(participants),
        segments=by_segment,
        heterogeneity={column: heterogeneity(one) for column, one in by_segment.items()},
        alarms=tuple(_alarms(participants, sizes)),
    )


def _segment_columns(segments: object) -> list[str]:
    names = nw.from_native(cast(Any, segments)).collect_schema().names()
    columns = [name for name in names if name != c.USER_ID]
    wrong = [name for name in columns if not re.fullmatch(r"\w+", name)]
    if c.USER_ID not in names or not columns or wrong:
        raise DataError(
            f"segments: expected user_id and columns of letters, digits and underscores, found {', '.join(names)}."
        )
    return columns


def _joined(found: FrameT, segments: FrameT, columns: Sequence[str]) -> FrameT:
    listed = ", ".join(f"s.{name}" for name in columns)
    return run(
        f"SELECT o.*, {listed} FROM {{found}} o LEFT JOIN {{segments}} s ON o.{c.USER_ID} = s.{c.USER_ID}",
        found=found,
        segments=segments,
    )


def _alarms(participants: Participants, sizes: Balance) -> list[Alarm]:
    texts: list[tuple[str, bool, str]] = [
        (
            "sample_ratio",
            sizes.sample_ratio_alarm,
            f"The arms are not as large as they should be (p = {sizes.p:.2g}): more than chance decides who is counted.",
        ),
        (
            "crossed",
            sizes.crossed_alarm,
            f"{participants.num_crossed:,} users ({sizes.share_crossed:.1%}) were found in several arms and are left out.",
        ),
    ]
    for metric in participants.definition.metrics:
        nobody = not participants.frame[metric.name].any()
        rare = metric.winsorise is not None and not nobody and capped_at(participants, metric) is None
        texts.append(("no_outcome", nobody, f"{metric.name}: nobody has an outcome, in any arm; nothing can be said."))
        texts.append(
            ("uncapped", rare, f"{metric.name}: too few have any for a cap at {metric.winsorise}; none is set.")
        )
    if any(metric.covariate_us for metric in participants.definition.metrics):
        newcomers = not participants.frame[HAS_PAST].any()
        texts.append(("no_past", newcomers, "Nobody has a past to adjust for: the adjusted lifts are the plain ones."))
    looks = participants.definition.looks
    if looks is not None and looks.reached(len(participants.frame)) < looks.number:
        texts.append(
            (
                "one_look",
                True,
                "The test is not at its end: read the intervals of its looks, the others hold for one look.",
            )
        )
    return [Alarm(name=name, text=text) for name, raised, text in texts if raised]
