"""Nothing that was not known at an origin may move a forecast from it: from the tables to the quantiles.

Two shops share what was known when the origin had passed. In the second one everything after it is garbage: sales,
views, stock, regressors, and every plan row that had not been announced. Forecasts must be equal bit by bit, and so
must the weights of a training that ends at the origin.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from features.event_log import EventLog
from features.panel.build import PanelSettings, build_panel
from features.panel.demand_panel import DemandPanel
from features.settings import EngineSettings, ShopSettings
from tests.features.tiny_shop import event, utc, write_shop
from tests.training.demand_worlds import small_config
from training.demand.config import DemandConfig
from training.demand.forecast import forecast
from training.demand.inputs.panel_inputs import PanelInputs
from training.demand.network.model import DemandModel
from training.demand.network.trainer import fit_model

ITEMS = ("a", "b", "c", "d")
FIRST = dt.date(2024, 1, 1)
Rows = list[dict[str, Any]]


def config_of(frequency: str) -> DemandConfig:
    spans, context = ((7, 28), 21) if frequency == "D" else ((2, 4), 6)
    return small_config(
        horizon=3,
        spans=spans,
        level_span=spans[1],
        context_length=context,
        hidden_size=16,
        min_history=4,
        batch_size=16,
        max_steps=3,
        hidden_history_share=0.3,
    )


def noon(day: int) -> dt.datetime:
    return utc(f"{FIRST} 12:00") + dt.timedelta(days=day)


def day_of(number: int | np.integer[Any]) -> dt.date:
    return FIRST + dt.timedelta(days=int(number))


def events_of(days: range, rng: np.random.Generator) -> Rows:
    rows = []
    for number in days:
        for item in ITEMS:
            for kind in ("view", "cart", "favorite"):
                rows += [event("u", kind, noon(number), item) for _ in range(rng.integers(0, 3))]
            if units := int(rng.poisson(2)):
                price = int(rng.integers(50, 150))
                rows.append(event("u", "purchase", noon(number), item, quantity=units, price=price))
    return rows


def stock_of(days: range, rng: np.random.Generator) -> Rows:
    return [
        {"item_id": item, "day": day_of(day), "stock": int(rng.integers(0, 3))}
        for day in days
        for item in ITEMS
        if rng.random() < 0.3
    ]


def plan_of(announced: range, until: int, rng: np.random.Generator) -> Rows:
    """Rows announced on these days, for days before and after."""
    return [
        {
            "item_id": item,
            "day": day_of(day),
            "announced_at": noon(on) + dt.timedelta(minutes=number),
            "price": int(rng.integers(50, 150)),
            "promotion": float(rng.random()),
            "display": float(rng.random()),
            "mailer": float(rng.random()),
        }
        for on in announced
        for number, item in enumerate(rng.choice(ITEMS, 3, replace=False))
        for day in rng.choice(np.arange(max(0, on - 3), min(on + 40, until)), 2)
    ]


def regressors_of(days: range, announced: range, until: int, rng: np.random.Generator) -> Rows:
    """A temperature, measured on the day; and matches, announced for some items or for all of them."""
    items = (None, *ITEMS[:2])
    measured = [
        {"name": "temperature", "day": day_of(day), "value": float(rng.normal()), "item_id": item}
        for day in days
        for item in items
        if rng.random() < 0.5
    ]
    matches = [
        {
            "name": "match",
            "day": day_of(int(rng.integers(max(0, on - 2), min(on + 40, until)))),
            "value": float(rng.normal()),
            "item_id": item,
            "announced_at": noon(on),
        }
        for on in announced
        for item in items
        if rng.random() < 0.7
    ]
    return measured + matches


def without_repeats(rows: Rows, *keys: str) -> Rows:
    return list({tuple(row.get(key) for key in keys): row for row in reversed(rows)}.values())


def panel_of(root: Path, *, origin: int, days: int, ahead: int, settings: PanelSettings, late: int) -> DemandPanel:
    """Build the shop whose life until day ``origin`` is given, and after it drawn by the seed ``late``."""
    before, after = range(origin), range(origin, days)
    known, unknown = np.random.default_rng(1), np.random.default_rng(late)
    last = event("u", "view", noon(days - 1), "a")  # so that both logs end on one day
    data = write_shop(
        root / "data",
        shop=ShopSettings(),
        events=events_of(before, known) + events_of(after, unknown) + [last],
        inventory=stock_of(before, known) + stock_of(after, unknown),
        plan=without_repeats(
            plan_of(before, days + ahead, known) + plan_of(after, days + ahead, unknown),
            *("item_id", "day", "announced_at"),
        ),
        regressors=without_repeats(
            regressors_of(before, before, days + ahead, known) + regressors_of(after, after, days + ahead, unknown),
            *("name", "day", "item_id", "announced_at"),
        ),
        items=[{"item_id": item, "category": f"food/{item > 'b'}", "price": 100} for item in ITEMS],
    )
    engine = EngineSettings(memory_limit="500MB", threads=1)
    log = EventLog.build(data, root / "log.parquet", shop=ShopSettings(), engine=engine)
    return build_panel(log, data, shop=ShopSettings(), settings=settings, engine=engine)


def random_model(inputs: PanelInputs, config: DemandConfig) -> DemandModel:
    """Heads start at zero, and such a model would say the same of everything."""
    torch.manual_seed(0)
    model = DemandModel(inputs.sizes, config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


@pytest.fixture(scope="module", params=["D", "W"])
def shops(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[DemandPanel, ...]:
    """The shop as it went on, and twice with garbage after the origin."""
    per = {"D": 1, "W": 7}[request.param]
    settings = PanelSettings(frequency=request.param, min_purchases=1, horizon=3)
    sizes = {"origin": 12 * 7, "days": 12 * 7 + 4 * per, "ahead": 3 * per}
    return tuple(panel_of(tmp_path_factory.mktemp("shop"), settings=settings, late=late, **sizes) for late in (2, 3, 4))


def origin_of(panel: DemandPanel) -> int:
    return panel.num_periods - 4


def test_panel_when_what_comes_after_the_origin_is_garbage_then_it_does_hold_garbage(
    shops: tuple[DemandPanel, ...],
) -> None:
    honest, *garbled = shops
    origin = origin_of(honest)
    assert {*honest.known_ahead} >= {"planned_price", "promotion", "display", "mailer", "outside_match", "holiday"}
    assert {*honest.observed} >= {"revenue", "realised_price", "num_views", "category_heat", "outside_temperature"}
    for other in garbled:
        for name in ("promotion", "outside_match"):
            assert not np.array_equal(honest.known_ahead[name][:, origin:], other.known_ahead[name][:, origin:]), name
            for panel in (honest, other):  # and something of the horizon was known
                assert panel.as_known_at(origin).known_ahead[name][:, origin : origin + 3].any()
        for name, array in honest.observed.items():
            assert not np.array_equal(array[:, origin:], other.observed[name][:, origin:]), name
            np.testing.assert_array_equal(array[:, :origin], other.observed[name][:, :origin], name)


def test_forecasts_when_what_comes_after_the_origin_is_garbage_then_bit_identical(
    shops: tuple[DemandPanel, ...],
) -> None:
    config = config_of(shops[0].frequency)
    honest, *garbled = (PanelInputs.from_panel(panel, config) for panel in shops)
    model, origin, lead = random_model(honest, config), origin_of(shops[0]), np.array([1, 2, 3, 3])
    for back in (0, 1):
        ours = forecast(model, honest, origin - back)
        assert len(np.unique(ours.mean)) > 6  # it does read its inputs
        for inputs in garbled:
            theirs = forecast(model, inputs, origin - back)
            np.testing.assert_array_equal(ours.mean, theirs.mean)
            np.testing.assert_array_equal(ours.quantiles, theirs.quantiles)
            for one, other in zip(
                *(said.totals.total_quantiles(lead, (0.5, 0.9)) for said in (ours, theirs)), strict=True
            ):
                np.testing.assert_array_equal(one, other)


def test_forecasts_when_the_garbage_is_announced_then_they_do_change(shops: tuple[DemandPanel, ...]) -> None:
    config = config_of(shops[0].frequency)
    honest, other, _ = (PanelInputs.from_panel(panel, config) for panel in shops)
    model, origin = random_model(honest, config), origin_of(shops[0])
    assert not np.array_equal(forecast(model, honest, origin + 1).mean, forecast(model, other, origin + 1).mean)


def test_training_when_what_comes_after_its_end_is_garbage_then_the_same_weights(
    shops: tuple[DemandPanel, ...], tmp_path: Path
) -> None:
    config, origin = config_of(shops[0].frequency), origin_of(shops[0])
    found = [
        fit_model(
            PanelInputs.from_panel(panel, config), config, fit_until=origin, directory=tmp_path / str(number), steps=3
        ).model.state_dict()
        for number, panel in enumerate(shops[:2])
    ]
    for name, weights in found[0].items():
        assert torch.equal(weights, found[1][name]), name
