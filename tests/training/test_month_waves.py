import dataclasses

import numpy as np
import pandas as pd

from features.panel.demand_panel import DemandPanel
from training.demand.inputs.panel_arrays import PlanArrays, month_waves


def panel(periods: int, *, start: str = "2024-01-01", frequency: str = "D") -> DemandPanel:
    ids = np.array(["a", "b"], object)
    return DemandPanel(
        item_ids=ids, start=pd.Timestamp(start), frequency=frequency, units=np.ones((2, periods), np.float32)
    )


def test_month_waves_when_a_month_begins_then_every_month_at_the_same_place():
    waves = np.stack(month_waves(panel(121), 121))  # January to April 2024: 31, 29, 31 and 30 days
    firsts = [0, 31, 60, 91]
    np.testing.assert_allclose(waves[0::2, firsts], 0, atol=1e-6)  # sines
    np.testing.assert_allclose(waves[1::2, firsts], 1, atol=1e-6)  # cosines
    assert (waves[1, 1:31] < 1).all()
    # The last day of a month stands as far from the next first as the second day does.
    assert np.isclose(waves[1, 30], waves[1, 1])


def test_month_waves_when_periods_are_weeks_or_fewer_than_two_months_were_seen_then_none():
    assert month_waves(panel(61), 70) == []
    assert month_waves(panel(80, frequency="W"), 84) == []
    assert len(month_waves(panel(62), 70)) == 6


def test_plan_when_the_horizon_passes_the_end_of_the_panel_then_its_months_are_known():
    longer = PlanArrays.of(panel(120), 14, 7).values
    later = PlanArrays.of(dataclasses.replace(panel(134)), 0, 7).values
    np.testing.assert_allclose(longer, later, atol=1e-6)
