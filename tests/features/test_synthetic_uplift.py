"""What promotions truly sell in the simulated shop: beside a shop whose plan lacks them, and beside what happened."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from features.sources.synthetic import uplift
from features.sources.synthetic.settings import Size
from features.sources.synthetic.simulation import Simulation
from features.sources.synthetic.world import World, draw_world

SIZE = Size(num_users=300, num_items=48, num_days=35, seed=4)


@pytest.fixture(scope="module")
def world() -> World:
    return draw_world(SIZE)


def without(world: World, *, item: int, day: int, cut: bool, display: bool) -> World:
    """The same world, with one item's price cut or display taken back on one day."""
    prices = world.prices
    log_ratio, shown = prices.log_ratio.copy(), prices.display.copy()
    if cut:
        log_ratio[day, item] -= np.log1p(-prices.discount[day, item])
    if display:
        shown[day, item] = False
    return dataclasses.replace(world, prices=dataclasses.replace(prices, log_ratio=log_ratio, display=shown))


def test_counterfactual_when_the_plan_itself_is_changed_then_it_is_the_same(world: World) -> None:
    """The quick way changes the promoted items' columns; the slow way changes the plan and starts from it."""
    compared = []

    def observe(day, state, visits, browsing, baskets):  # type: ignore[no-untyped-def]
        items = np.flatnonzero(world.prices.discount[day] > 0)
        if day % 7 != 3 or not len(items) or not visits.num_visits:
            return
        quick = uplift.PromotedChoice.on_day(world, state, visits, day=day, items=items)
        for row, item in enumerate(items):
            for cut, display in ((True, True), (True, False), (False, True)):
                other = without(world, item=item, day=day, cut=cut, display=display)
                slow = uplift.PromotedChoice.on_day(other, state, visits, day=day, items=np.array([item]))
                found = quick.carted(cut=not cut, display=not display)[row]
                compared.append((found, slow.carted(cut=True, display=True)[0]))

    Simulation(world, observe=observe).run()
    found, expected = np.array(compared).T
    assert len(found) > 20
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-9)


def test_units_with_promotion_when_compared_with_what_the_simulation_expects_then_they_agree(world: World) -> None:
    history, promoted = uplift.run_with_uplift(world)
    kept = promoted.in_stock
    expected = history.rate[promoted.day, promoted.item][kept]
    # The simulation knows each session's leaf and counts a need and a view of the same item twice.
    assert promoted.with_promotion[kept].sum() == pytest.approx(expected.sum(), rel=0.05)
    assert (promoted.with_promotion >= promoted.without_cut).all()
    assert (promoted.with_promotion >= promoted.without_display - 1e-9).all()
    assert (promoted.without_display[~promoted.display] == promoted.with_promotion[~promoted.display]).all()


def test_simulation_when_it_is_watched_then_it_draws_the_same(world: World) -> None:
    watched, _ = uplift.run_with_uplift(world)
    alone = Simulation(world).run()
    for name, values in alone.purchases.items():
        np.testing.assert_array_equal(values, watched.purchases[name])
