"""The tables of a test: means of the arms, lifts over the control, and what each look saw."""

from __future__ import annotations

from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.insight.experiments.corrections import benjamini_hochberg, holm
from features.insight.experiments.estimates import ArmMean, effect
from features.insight.experiments.measure import Metric
from features.insight.experiments.participants import Participants
from features.insight.experiments.samples import Adjusted, Sample, adjusted_means, cap, plain_means

Method = Literal["plain", "cuped"]
PLAIN: Final[Method] = "plain"
CUPED: Final[Method] = "cuped"
_EFFECTS: Final = ("difference", "se", "low", "high", "lift", "lift_low", "lift_high", "p")
_LOOK_COLUMNS: Final = ("metric", "arm", "look", "num_users", "fraction", "reach", *_EFFECTS[:-1])


def capped(sample: Sample, metric: Metric) -> Sample:
    """Return the sample as the metric wants it: with large values taken down."""
    return sample if metric.winsorise is None else sample.winsorised(metric.winsorise)


def capped_at(participants: Participants, metric: Metric) -> float | None:
    """Return what a metric's values are taken down to; nothing where they are not."""
    return None if metric.winsorise is None else cap(participants.sample(metric).value, metric.winsorise)


def methods_of(metric: Metric) -> tuple[Method, ...]:
    """Return how a metric is estimated; the last is the one to read."""
    return (PLAIN, CUPED) if metric.covariate_us else (PLAIN,)


def means_by(sample: Sample, method: Method) -> Adjusted:
    """Return the arms' means by one of the methods."""
    if method == CUPED:
        return adjusted_means(sample)
    return Adjusted(means=plain_means(sample), correlation=0.0)


def arm_means(participants: Participants) -> pd.DataFrame:
    """Return one row a metric and arm: its plain mean with interval.

    Returns:
        metric, arm, num_users (whose window has ended), num_open (whose has not), capped_at (of the value; missing where
        nothing is capped), mean, low, high.
    """
    rows: list[dict[str, Any]] = []
    for metric in participants.definition.metrics:
        sample = capped(participants.sample(metric), metric)
        at = capped_at(participants, metric)
        for arm, size, mean in zip(participants.arms, participants.counts, plain_means(sample), strict=True):
            low, high = mean.interval(participants.definition.level)
            rows.append(
                {"metric": metric.name, "arm": arm, "num_users": mean.num_users, "num_open": int(size) - mean.num_users}
                | {"capped_at": np.nan if at is None else at, "mean": mean.value, "low": low, "high": high}
            )
    return pd.DataFrame(rows)


def lifts(participants: Participants, rows: npt.NDArray[np.bool_] | None = None) -> pd.DataFrame:
    """Return one row a metric, arm and method: the arm against the control.

    Args:
        participants: of the test.
        rows: some of the users, ``[N]``; all where left out.

    Returns:
        metric, arm, method (``plain``, or ``cuped`` where the metric has a covariate), primary (whether it is the one to
        read), num_users, num_control, mean, mean_control, difference, se, low, high, lift, lift_low, lift_high, p, q
        (Benjamini and Hochberg's), p_holm, correlation (of past and present). ``q`` and ``p_holm`` are over all metrics
        and arms of a method. What cannot be told is NaN.
    """
    found: list[dict[str, Any]] = []
    for metric in participants.definition.metrics:
        sample = capped(participants.sample(metric, rows), metric)
        methods = methods_of(metric)
        for method in methods:
            adjusted = means_by(sample, method)
            for arm, mean in zip(participants.arms[1:], adjusted.means[1:], strict=True):
                found.append(
                    {"metric": metric.name, "arm": arm, "method": method, "primary": method == methods[-1]}
                    | _row(mean, adjusted.means[0], participants.definition.level)
                    | {"correlation": adjusted.correlation if method == CUPED else np.nan}
                )
    return corrected(pd.DataFrame(found))


def corrected(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with ``q`` and ``p_holm`` after ``p``: over the primary rows together, and over the others."""
    q, adjusted = np.full(len(table), np.nan), np.full(len(table), np.nan)
    for primary in (True, False):
        rows = table["primary"].to_numpy(bool) == primary
        q[rows] = benjamini_hochberg(table["p"].to_numpy(float)[rows])
        adjusted[rows] = holm(table["p"].to_numpy(float)[rows])
    done = table.copy()
    done.insert(list(table).index("p") + 1, "q", q)
    done.insert(list(table).index("p") + 2, "p_holm", adjusted)
    return done


def looks_so_far(participants: Participants) -> pd.DataFrame:
    """Return one row a metric, arm and look that the users so far allow: the interval that holds at all looks together.

    A look is at the first of the planned users, in order of assignment, whose window has ended: what was to be seen when
    they were so many. Its estimate is the metric's primary one.

    Returns:
        metric, arm, look (1 the first), num_users (of all arms), fraction (of the planned), reach (standard errors),
        difference, se, low, high, lift, lift_low, lift_high, stops (whether 0 lies outside, at this look or an earlier one).
    """
    looks = participants.definition.looks
    assert looks is not None
    found: list[dict[str, Any]] = []
    for metric in participants.definition.metrics:
        every = participants.sample(metric)
        for look in range(1, looks.reached(len(every.arm)) + 1):
            sample = capped(every.take(slice(0, looks.at_users[look - 1])), metric)
            means = means_by(sample, methods_of(metric)[-1]).means
            for arm, mean in zip(participants.arms[1:], means[1:], strict=True):
                one = effect(mean, means[0])
                reach = looks.reach(look, one.dof)
                seen = {"metric": metric.name, "arm": arm, "look": look, "num_users": len(sample.arm)}
                seen |= {"fraction": looks.fractions[look - 1], "reach": reach}
                found.append(seen | {name: getattr(one.reaching(reach), name) for name in _EFFECTS[:-1]})
    return _with_stops(pd.DataFrame(found, columns=_LOOK_COLUMNS))


def _row(mean: ArmMean, control: ArmMean, level: float) -> dict[str, Any]:
    one = effect(mean, control, level=level)
    counts = {"num_users": mean.num_users, "num_control": control.num_users}
    means = {"mean": mean.value, "mean_control": control.value}
    return counts | means | {name: getattr(one, name) for name in _EFFECTS}


def _with_stops(table: pd.DataFrame) -> pd.DataFrame:
    outside = (table["low"] > 0) | (table["high"] < 0)
    stops = outside.astype(int).groupby([table["metric"], table["arm"]]).cummax().astype(bool)
    return table.assign(stops=stops)
