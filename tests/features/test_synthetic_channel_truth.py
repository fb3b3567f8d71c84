"""What channels truly bring a simulated shop."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from features.errors import ConfigError
from features.sources.synthetic import calendar, campaigns
from features.sources.synthetic.channel_truth import CAUSES, expected_totals, true_contributions, without_channel
from features.sources.synthetic.settings import Size
from features.sources.synthetic.world import World, draw_world

SMALL = Size(num_users=200, num_items=40, num_days=30, seed=2)


@pytest.fixture(scope="module")
def world() -> World:
    return draw_world(SMALL)


def test_contributions_when_there_are_no_messages_then_visits_follow_from_the_hazards(world: World) -> None:
    quiet = dataclasses.replace(world, campaigns=[])
    users, lost = world.users, dict.fromkeys(campaigns.PAID, 0.0)
    for day in range(SMALL.num_days):
        own = users.own_rate(day)
        ready = own / users.visit_rate * users.responsiveness
        paid = {
            row: campaigns.paid_visits(row, world.spend[place, day], SMALL.num_users) * ready
            for place, row in enumerate(campaigns.PAID)
        }
        hazard = own * calendar.traffic(day) + sum(paid.values())
        for row in lost:
            lost[row] += float((np.exp(-(hazard - paid[row])) - np.exp(-hazard)).sum())
    whole = expected_totals(quiet)
    for row, visits in lost.items():
        found = whole - expected_totals(without_channel(quiet, campaigns.CHANNEL_NAMES[row]))
        assert found[0] == pytest.approx(visits)
        assert found[1] > 0


def test_contributions_when_summed_with_own_accord_then_all_there_is(world: World) -> None:
    table = true_contributions(world, num_runs=2)
    assert table["channel"].tolist() == [*CAUSES, "own accord"]
    runs = [world, dataclasses.replace(world, size=dataclasses.replace(SMALL, seed=SMALL.seed + 1_000_000))]
    total = np.mean([expected_totals(run) for run in runs], axis=0)
    assert table[["visits", "orders", "revenue"]].sum().to_numpy() == pytest.approx(total)
    assert (table.set_index("channel").loc[["paid_search", "paid_social"], "visits"] > 0).all()


def test_world_when_the_channel_is_no_cause_then_says_which_are(world: World) -> None:
    with pytest.raises(
        ConfigError, match=r"expected one of paid_search, .*, found 'paid_serch'. Did you mean 'paid_search'"
    ):
        without_channel(world, "paid_serch")
