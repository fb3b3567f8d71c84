"""What a visit's events say of a purchase to whom the shop's truth is known: right in the mean, and after each event."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest

from features.chances.scores import Area, calibration_error
from features.columns import EVENT_TYPES
from features.sources.synthetic.settings import Size
from features.sources.synthetic.simulation import Simulation
from features.sources.synthetic.truth import fingerprint
from features.sources.synthetic.visit_chances import run_with_visits
from features.sources.synthetic.world import draw_world


def test_chances_when_compared_with_what_came_then_right_in_the_mean_and_after_each_kind_of_event() -> None:
    world = draw_world(Size(num_users=600, num_items=120, num_days=40, seed=4))
    history, truth = run_with_visits(world)
    assert fingerprint(history) == fingerprint(Simulation(world).run()), "looking changes nothing"
    visits = defaultdict(list)
    columns = (history.events[name].tolist() for name in ("session", "ts", "event_type", "item"))
    for session, at_us, code, item in zip(*columns, strict=True):
        visits[session].append((at_us, EVENT_TYPES[code - 1], item))
    visits.pop(-1, None)
    rows = []
    for number, events in visits.items():
        last = max((at_us for at_us, kind, _ in events if kind == "purchase"), default=-1)
        for now in sorted({one[0] for one in events}):
            told = [one for one in events if one[0] <= now]
            rows.append((truth[number].chance(told, now), now < last, told[-1][1]))
    chance, came, kind = (np.array(column) for column in zip(*rows, strict=True))
    assert len(rows) > 15_000
    assert Area.of(chance, came).auc > 0.8
    assert calibration_error(chance, came) < 0.03
    for name in ("view", "cart", "checkout", "search", "purchase"):
        assert chance[kind == name].mean() == pytest.approx(came[kind == name].mean(), abs=0.03)
