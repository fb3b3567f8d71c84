"""What was unusual: breaks in the rate of events, jumps between regions, bursts of links between devices and accounts.

Each list is drawn up so that a shop in which nothing happens has a line in it about once in five pages
(``expected_false``), however many series, customers and devices were looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from scipy import stats

from features import columns as c
from features.errors import ConfigError, DataError

Floats = npt.NDArray[np.float64]
EVERY_CHANNEL: Final = ""
UNKNOWN_CHANNEL: Final = "-"
_WEEK: Final = 7
_MAD_TO_DEVIATION: Final = 1.4826  # of a normal distribution
_MEDIAN_COST: Final = np.pi / 2  # variance of a median over that of a mean
_EARTH_RADIUS_KM: Final = 6371.0


@dataclass(frozen=True, kw_only=True)
class AnomalySettings:
    """What counts as unusual.

    Args:
        days: the latest days that are judged.
        level_days: the level of a series is the median of so many days before the judged one.
        history_days: whole weeks that weekdays are learned from; the spread from as many again, so that a day with
            fewer than twice as many before it is not judged.
        expected_false: lines that chance alone may put into a list.
        smallest_change: a smaller change of a rate, as a share of what was expected, is not listed.
        jump_minutes: a change of region within fewer minutes is a jump, where nobody knows how far regions are apart.
        fastest_kmh: where places are known, a jump is a change that needs a higher speed.
        nearest_km: where places are known, regions less far apart are neighbours, and changes between them no jumps.
        fewest: fewer changes, accounts or devices in one day are never a burst.
    """

    days: int = 28
    level_days: int = 14
    history_days: int = 42
    expected_false: float = 0.2
    smallest_change: float = 0.2
    jump_minutes: int = 30
    fastest_kmh: float = 900.0
    nearest_km: float = 200.0
    fewest: int = 3

    def __post_init__(self) -> None:
        if self.days < 1 or not _WEEK <= self.level_days <= self.history_days or self.history_days % _WEEK:
            raise ConfigError(
                "anomalies: expected days >= 1, level_days from 7 to history_days, and these whole weeks, found "
                f"{self.days}, {self.level_days} and {self.history_days}."
            )


def rate_breaks(daily: pd.DataFrame, *, days: pd.DatetimeIndex, settings: AnomalySettings) -> pd.DataFrame:
    """Return the days on which a kind of event came far more, or far less often than it used to.

    A day's count is expected at the median of the days before it times its weekday's usual share. How far counts
    stray is learned from how far they strayed from such expectations before (median absolute deviation, never less
    than a Poisson's): earlier breaks neither move the level nor widen the spread. The chance of a count so far out is
    that of a negative binomial of this mean and variance, on both sides.

    Args:
        daily: day (midnight), event_type, channel (missing where unknown), events; one row each, absent where none.
        days: all days of the log, rising; the last ``settings.days`` are judged.
        settings: what counts as unusual.

    Returns:
        event_type, channel ("" for all together; a channel's line is left out where all together broke the same way),
        from_day, to_day (a run of unusual days is one line), events and expected (over the run), chance (of its most
        unusual day); the latest first.
    """
    wide = _series(daily, days)  # [D, S]
    counts = wide.to_numpy(float)
    mean, variance = expectation(counts, settings)
    first = max(len(days) - settings.days, 0)
    judged = pd.DataFrame(
        {
            **{name: np.tile(wide.columns.get_level_values(name), len(days)) for name in ("event_type", "channel")},
            c.DAY: np.repeat(days, counts.shape[1]),
            "events": counts.ravel(),
            "expected": mean.ravel(),
            "chance": _as_learned(tail_chance(counts, mean, variance), variance / mean, settings).ravel(),
        }
    ).iloc[first * counts.shape[1] :]
    judged = judged[judged["chance"].notna()]
    change = (judged["events"] - judged["expected"]).abs() >= settings.smallest_change * judged["expected"]
    return _runs(_without_repeats(judged[(judged["chance"] * len(judged) < settings.expected_false) & change]))


def expectation(counts: Floats, settings: AnomalySettings) -> tuple[Floats, Floats]:
    """Return what was expected of each day by the days before it, and the variance; NaN where too little is known.

    Args:
        counts: events a day of S series, ``[D, S]``.
        settings: lengths of memory.

    Returns:
        Means and variances, ``[D, S]``.
    """
    history = settings.history_days
    mean, variance = np.full(counts.shape, np.nan), np.full(counts.shape, np.nan)
    if len(counts) > history:
        mean[history:] = _expected(
            sliding_window_view(counts[:-1], history, axis=0), settings
        )  # windows [D', S, history]
    if len(counts) > 2 * history:
        strayed = np.abs(counts - mean)[history:-1] / np.sqrt(mean[history:-1])
        spread = (_MAD_TO_DEVIATION * np.median(sliding_window_view(strayed, history, axis=0), axis=-1)) ** 2
        variance[2 * history :] = mean[2 * history :] * np.maximum(spread, _least_spread(settings))
    return mean, variance


def region_jumps(
    changes: pd.DataFrame, *, settings: AnomalySettings, places: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Return changes of region that nobody can travel.

    Without places, any two regions are taken to be too far apart for ``settings.jump_minutes``.

    Args:
        changes: user_id, day, region_before, region, minutes (between the two events); one row a change.
        settings: how fast is too fast.
        places: region, latitude, longitude (degrees) where the shop knows them.

    Returns:
        The impossible rows of ``changes`` with kilometres (missing without places), the latest and fastest first.
    """
    found = changes.copy()
    found["kilometres"] = np.nan if places is None else _distances(found, places)
    hours = found["minutes"].clip(lower=1) / 60
    fast = found["kilometres"] / hours > settings.fastest_kmh
    unknown = found["kilometres"].isna() & (found["minutes"] < settings.jump_minutes)
    kept = found[(fast & (found["kilometres"] >= settings.nearest_km)) | unknown]
    return kept.sort_values([c.DAY, "minutes", c.USER_ID], ascending=[False, True, True], ignore_index=True)


def bursts(counts: pd.DataFrame, *, of: str, settings: AnomalySettings) -> pd.DataFrame:
    """Return the rows whose count is too large to be chance, the latest and largest first.

    New accounts on a device, new devices of an account, changes of region of a customer: each is small on nearly all
    days. Counts are held against a Poisson distribution of their mean without the largest one in a thousand, and
    the bar is set by how many rows there are.

    Args:
        counts: who, day and the count, a row for each day on which the one was seen, zeros included.
        of: name of the count.
        settings: expected false lines, and the fewest that count.

    Returns:
        The rows with ``expected`` and ``chance``.

    Raises:
        DataError: there is no such column.
    """
    if of not in counts:
        raise DataError(f"bursts: expected a column {of!r}, found {list(counts.columns)}.")
    number = counts[of].to_numpy(float)
    if not len(number):
        return counts.assign(expected=0.0, chance=0.0)
    usual = float(np.minimum(number, np.quantile(number, 0.999)).mean())
    chance = stats.poisson.sf(number - 1, max(usual, 1 / len(number)))
    out = (chance * len(number) < settings.expected_false) & (number >= settings.fewest)
    found = counts.assign(expected=usual, chance=chance)[out]
    return found.sort_values([c.DAY, of], ascending=False, ignore_index=True, kind="stable")


def _series(daily: pd.DataFrame, days: pd.DatetimeIndex) -> pd.DataFrame:
    """Return counts a day of each event type over all channels, and of each of its channels; zeros where none."""
    rows = daily.assign(channel=daily["channel"].replace(EVERY_CHANNEL, np.nan).fillna(UNKNOWN_CHANNEL))
    every = rows.assign(channel=EVERY_CHANNEL)
    several = rows.groupby("event_type")["channel"].transform("nunique") > 1
    both = pd.concat([every, rows[several]])
    wide = both.pivot_table(index=c.DAY, columns=["event_type", "channel"], values="events", aggfunc="sum")
    return wide.reindex(days).fillna(0.0)


def tail_chance(count: Floats, mean: Floats, variance: Floats) -> Floats:
    """Return the chance of a count at least so far on its side of the mean, doubled: a negative binomial's.

    >>> tail_chance(np.array([0.0]), np.array([10.0]), np.array([10.0001])).round(6)     # a Poisson's exp(-10), twice
    array([9.1e-05])
    """
    size = mean**2 / np.maximum(variance - mean, 1e-9 * mean)
    tail = stats.nbinom(size, size / (size + mean))
    found: Floats = np.minimum(1.0, 2 * np.where(count > mean, tail.sf(count - 1), tail.cdf(count)))
    return found


def _least_spread(settings: AnomalySettings) -> float:
    """Return a Poisson count's variance over its mean where the expectation, two medians, is uncertain itself."""
    return 1 + _MEDIAN_COST * (1 / settings.level_days + _WEEK / settings.history_days)


def _as_learned(chance: Floats, spread: Floats, settings: AnomalySettings) -> Floats:
    """Return chances that allow for a spread learned from few days: Student's t for the normal of equal chance.

    A median absolute deviation knows a spread as well as 0.37 times as many days would by their squares (Huber 1981).
    """
    student = 2 * stats.t(0.37 * settings.history_days).sf(stats.norm.isf(chance / 2))
    found: Floats = np.where(spread > _least_spread(settings), student, chance)
    return found


def _expected(past: Floats, settings: AnomalySettings) -> Floats:
    """Return the count that the days before a day make us expect of it, at least a little above 0.

        weekday's share    median over the weeks of its count over the mean of that week
        level              median over the last days of count over share

    Args:
        past: counts of the whole weeks before a day, ``[..., history_days]``.
        settings: how many days make the level.
    """
    weeks = past.reshape(*past.shape[:-1], -1, _WEEK)  # column 0 is the weekday of the day in question
    shares = _weekday_shares(weeks)
    of_last = np.concatenate([shares] * (settings.history_days // _WEEK), axis=-1)[..., -settings.level_days :]
    last = past[..., -settings.level_days :] / of_last
    # The median of rare events is 0 however often they come: a mean without the largest then says more.
    level = np.median(last, axis=-1)
    trimmed = np.minimum(last, np.quantile(last, 0.9, axis=-1, keepdims=True)).mean(axis=-1)
    found: Floats = np.maximum(np.where(level < _WEEK, trimmed, level) * shares[..., 0], 0.5 / settings.level_days)
    return found


def _weekday_shares(weeks: Floats) -> Floats:
    """Return how much of a week's mean each day has, ``[..., 7]`` of mean 1; 1 each where events are rare.

    Args:
        weeks: counts, ``[..., weeks, 7]``.
    """
    means = weeks.mean(axis=-1, keepdims=True)
    shares = np.median(weeks / np.maximum(means, 1), axis=-2).clip(min=0.05)
    shares = shares / shares.mean(axis=-1, keepdims=True)
    rare = np.median(means, axis=-2) < _WEEK
    found: Floats = np.where(rare, 1.0, shares)
    return found


def _without_repeats(judged: pd.DataFrame) -> pd.DataFrame:
    """Leave out a channel's line on a day on which all channels together broke the same way."""
    way = np.sign(judged["events"] - judged["expected"])
    keys = pd.MultiIndex.from_arrays([judged["event_type"], judged[c.DAY], way])
    every = judged["channel"].to_numpy() == EVERY_CHANNEL
    return judged[every | ~keys.isin(keys[every])]


def _runs(judged: pd.DataFrame) -> pd.DataFrame:
    """Join unusual days of one series that follow each other, in one direction, to one line."""
    rows = judged.sort_values(["event_type", "channel", c.DAY], ignore_index=True)
    way = (rows["events"] > rows["expected"]).astype(int)
    same = (rows[["event_type", "channel"]] == rows[["event_type", "channel"]].shift()).all(axis=1) & (
        way == way.shift()
    )
    follows = same & (rows[c.DAY].diff() == pd.Timedelta(days=1))
    grouped = rows.groupby((~follows).cumsum(), as_index=False)
    lines = grouped.agg(
        event_type=("event_type", "first"),
        channel=("channel", "first"),
        from_day=(c.DAY, "min"),
        to_day=(c.DAY, "max"),
        events=("events", "sum"),
        expected=("expected", "sum"),
        chance=("chance", "min"),
    )
    order: Sequence[str] = ["to_day", "chance", "event_type", "channel"]
    return lines.sort_values(list(order), ascending=[False, True, True, True], ignore_index=True)


def _distances(changes: pd.DataFrame, places: pd.DataFrame) -> Floats:
    """Return great-circle kilometres between the two regions of each row; NaN where a place is unknown."""
    at = places.set_index(c.REGION)[["latitude", "longitude"]]
    here, there = (np.radians(at.reindex(changes[name]).to_numpy(float)) for name in ("region_before", c.REGION))
    half = (there - here) / 2
    squared = np.sin(half[:, 0]) ** 2 + np.cos(here[:, 0]) * np.cos(there[:, 0]) * np.sin(half[:, 1]) ** 2
    return 2 * _EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.clip(squared, 0, 1)))
