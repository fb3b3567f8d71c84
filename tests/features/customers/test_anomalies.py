"""What is unusual is found where it was planted, and nowhere else."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from features.customers.anomalies import (
    AnomalySettings,
    bursts,
    expectation,
    rate_breaks,
    region_jumps,
    tail_chance,
)
from features.errors import ConfigError, DataError

DAYS = pd.date_range("2024-01-01", periods=126)  # a Monday, 18 weeks
WEEK = np.array([0.8, 0.8, 0.9, 1.0, 1.1, 1.3, 1.1])
SETTINGS = AnomalySettings()


def daily(counts: np.ndarray, event_type: str = "view", channel: str | None = "web") -> pd.DataFrame:
    return pd.DataFrame({"day": DAYS, "event_type": event_type, "channel": channel, "events": counts})


def weekly(mean: float, seed: int = 0, dispersion: float = 0.0) -> np.ndarray:
    """Counts around a weekly rhythm: a Poisson's, or a negative binomial's."""
    rng = np.random.default_rng(seed)
    rate = mean * WEEK[np.arange(len(DAYS)) % 7]
    return rng.poisson(rate * rng.gamma(1 / dispersion, dispersion, len(DAYS)) if dispersion else rate)


def found_days(found: pd.DataFrame) -> list[tuple[str, str]]:
    return [(str(row.from_day.date()), str(row.to_day.date())) for row in found.itertuples()]


@pytest.mark.parametrize(("mean", "factor"), [(200, 0.0), (200, 0.5), (200, 1.6), (3_000, 0.75), (4, 6.0)])
def test_rate_breaks_when_days_are_planted_then_exactly_they_are_found(mean: float, factor: float) -> None:
    counts = weekly(mean)
    counts[[110, 111]] = np.round(counts[[110, 111]] * factor + (mean * (factor > 2)))
    found = rate_breaks(daily(counts), days=DAYS, settings=SETTINGS)
    assert found_days(found) == [("2024-04-20", "2024-04-21")]
    assert found["events"].tolist() == [counts[110] + counts[111]]
    assert found["expected"].item() == pytest.approx(2 * mean, rel=0.7)


@pytest.mark.parametrize("dispersion", [0.0, 0.03])
def test_rate_breaks_when_nothing_happened_then_fewer_lines_than_promised(dispersion: float) -> None:
    pages, lines = 10, 0
    for page in range(pages):
        means = np.random.default_rng(page).uniform(0, 3, 12)
        parts = [
            daily(weekly(10**mean, seed=100 * page + number, dispersion=dispersion), event_type=f"e{number}")
            for number, mean in enumerate(means)
        ]
        lines += len(rate_breaks(pd.concat(parts), days=DAYS, settings=AnomalySettings(smallest_change=0.0)))
    # A Poisson count of the promised mean exceeds this once in a thousand runs; the seeds are fixed anyway.
    assert lines <= stats.poisson(pages * SETTINGS.expected_false).ppf(0.999)


def test_rate_breaks_when_every_channel_breaks_then_one_line_says_so() -> None:
    web, app = weekly(200, seed=1), weekly(300, seed=2)
    web[120] = app[120] = 0
    both = pd.concat([daily(web), daily(app, channel="app")])
    found = rate_breaks(both, days=DAYS, settings=SETTINGS)
    assert found[["event_type", "channel"]].to_numpy().tolist() == [["view", ""]]


def test_rate_breaks_when_one_channel_breaks_then_it_is_named() -> None:
    web, other = weekly(2_000, seed=1), weekly(60, seed=2)
    other[120] = 0
    found = rate_breaks(pd.concat([daily(web), daily(other, channel=None)]), days=DAYS, settings=SETTINGS)
    assert found[["event_type", "channel"]].to_numpy().tolist() == [["view", "-"]]


def test_rate_breaks_when_the_log_is_short_then_nothing_is_judged() -> None:
    counts = weekly(200)[:84]
    counts[-1] = 0
    short = daily(np.resize(counts, len(DAYS)))[:84]
    assert rate_breaks(short, days=DAYS[:84], settings=SETTINGS).empty


def test_expectation_when_the_past_is_a_pure_rhythm_then_it_is_that_rhythm() -> None:
    counts = np.tile([70.0, 80, 90, 100, 110, 140, 110], 18)[:, None]
    mean, variance = expectation(counts, SETTINGS)
    assert np.isnan(mean[:42]).all()
    assert mean[42:] == pytest.approx(counts[42:])
    # No count strays: a Poisson's variance, and what two medians of 14 days and of 6 weeks do not know.
    assert variance[84:] == pytest.approx(counts[84:] * (1 + math.pi / 2 * (1 / 14 + 1 / 6)))


def test_expectation_when_one_day_broke_then_the_next_days_are_as_if_it_had_not() -> None:
    counts = weekly(500).astype(float)[:, None]
    broken = counts.copy()
    broken[100] = 0
    usual, other = expectation(counts, SETTINGS), expectation(broken, SETTINGS)
    assert other[0][101:] == pytest.approx(usual[0][101:], rel=0.05)
    assert other[1][101:] == pytest.approx(usual[1][101:], rel=0.35)


def test_tail_chance_when_the_variance_is_the_mean_then_it_is_the_poissons() -> None:
    count, mean = np.array([3.0, 25.0, 10.0]), np.array([10.0, 10.0, 10.0])
    poisson = stats.poisson(10)
    expected = [2 * poisson.cdf(3), 2 * poisson.sf(24), 1.0]
    assert tail_chance(count, mean, mean) == pytest.approx(expected, rel=1e-5)


def changes(*rows: tuple[str, str, str, float]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["user_id", "region_before", "region", "minutes"])
    return frame.assign(day=pd.Timestamp("2024-05-01"))


def test_region_jumps_when_places_are_unknown_then_minutes_decide() -> None:
    found = region_jumps(changes(("a", "north", "south", 29.0), ("b", "north", "south", 30.0)), settings=SETTINGS)
    assert found["user_id"].tolist() == ["a"]
    assert found["kilometres"].isna().all()


def test_region_jumps_when_places_are_known_then_speed_decides() -> None:
    # Paris and Marseille are 660 km apart, Paris and Versailles 17 km; "sea" is on no map.
    places = pd.DataFrame(
        [("paris", 48.857, 2.352), ("marseille", 43.296, 5.370), ("versailles", 48.805, 2.120)],
        columns=["region", "latitude", "longitude"],
    )
    moved = changes(
        ("a", "paris", "marseille", 40.0),  # 990 km/h
        ("b", "paris", "marseille", 60.0),  # 660 km/h: an aeroplane
        ("c", "paris", "versailles", 0.5),  # next door, whatever the speed
        ("d", "paris", "sea", 5.0),
        ("e", "paris", "sea", 50.0),
    )
    found = region_jumps(moved, settings=SETTINGS, places=places)
    assert found["user_id"].tolist() == ["d", "a"]
    assert found["kilometres"].tolist()[1] == pytest.approx(660, abs=5)


def links(*counts: int) -> pd.DataFrame:
    return pd.DataFrame(
        {"who": [f"d{n}" for n in range(len(counts))], "day": pd.Timestamp("2024-05-01"), "new": counts}
    )


def test_bursts_when_one_device_meets_many_accounts_then_it_is_listed() -> None:
    usual = [1] * 200 + [0] * 1_800
    found = bursts(links(*usual, 12, 2), of="new", settings=SETTINGS)
    assert found["who"].tolist() == ["d2000"]
    assert found["expected"].item() == pytest.approx(0.1, abs=0.01)


def test_bursts_when_a_shop_is_small_then_few_are_never_one() -> None:
    assert bursts(links(0, 0, 0, 0, 2), of="new", settings=SETTINGS).empty
    assert bursts(links(), of="new", settings=SETTINGS).empty


def test_bursts_when_the_column_is_missing_then_it_says_so() -> None:
    with pytest.raises(DataError, match="expected a column 'changes', found"):
        bursts(links(1), of="changes", settings=SETTINGS)


def test_settings_when_memory_is_no_whole_weeks_then_they_are_refused() -> None:
    with pytest.raises(ConfigError, match="these whole weeks, found 28, 14 and 40"):
        AnomalySettings(history_days=40)


def test_rate_breaks_when_called_then_its_input_is_unchanged() -> None:
    frame = daily(weekly(50), channel=None)
    before = frame.copy()
    rate_breaks(frame, days=DAYS, settings=SETTINGS)
    pd.testing.assert_frame_equal(frame, before)
