"""What serving answers about a plan is what the trained network says of it, and a promotion sells."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from features.demand.calibration import DemandCalibration, LevelMap
from features.release import ReleaseStore, layout, write_part
from serving.api.demand_schemas import DemandRequest, PlanChange
from serving.demand.book import DemandBook
from tests.training.demand_worlds import HORIZON, NUM_PERIODS, poisson_panel, small_config
from training.demand.decisions.item_facts import ItemFacts
from training.demand.decisions.orders import decision_frame
from training.demand.decisions.what_if import write_what_if
from training.demand.export import as_of, forecast_frame
from training.demand.forecast import forecast
from training.demand.inputs.panel_inputs import PanelInputs
from training.demand.network.model import DemandModel
from training.demand.network.trainer import fit_model

CALIBRATION = DemandCalibration(
    period=LevelMap(asked=(0.3, 0.8), covered=(0.25, 0.85)), total=LevelMap(asked=(0.9,), covered=(0.93,)), level=0.07
)
CONFIG = small_config(max_steps=80, lead_time_days=3)
PANEL = dataclasses.replace(poisson_panel(), planned=("promotion",))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> DemandModel:
    inputs = PanelInputs.from_panel(PANEL, CONFIG)
    directory = tmp_path_factory.mktemp("fit")
    return fit_model(inputs, CONFIG, fit_until=NUM_PERIODS, directory=directory, steps=80).model


@pytest.fixture(scope="module")
def book(model: DemandModel, tmp_path_factory: pytest.TempPathFactory) -> DemandBook:
    """A part as training writes it, opened as serving does."""
    root, inputs = tmp_path_factory.mktemp("store"), PanelInputs.from_panel(PANEL, CONFIG)
    facts = ItemFacts.unknown(np.full(PANEL.num_items, 3))
    facts = dataclasses.replace(facts, on_hand=np.full(PANEL.num_items, 25.0))
    future = forecast(model, inputs, NUM_PERIODS, calibration=CALIBRATION)
    with write_part(root, "demand", data_fingerprint="x") as draft:
        forecast_frame(PANEL, future).to_parquet(draft.directory / layout.FORECASTS, index=False)
        decision_frame(PANEL, future, facts, CONFIG).to_parquet(draft.directory / layout.DECISIONS, index=False)
        write_what_if(draft.directory, model, PANEL, inputs)
        CALIBRATION.save(draft.directory / layout.DEMAND_CALIBRATION)
        draft.about.update(as_of=as_of(PANEL), frequency="D", horizon=HORIZON)
        draft.about["settings"] = dataclasses.asdict(CONFIG)
    part = ReleaseStore(root=root).latest_part("demand")
    assert part is not None
    return DemandBook.load(part)


def served(book: DemandBook, plan: dict[str, float | None], **more: object) -> tuple[np.ndarray, np.ndarray, list]:
    """Means ``[I, H]`` and quantiles ``[I, H, 9]`` of every item under a plan, and the answers."""
    changes = tuple(PlanChange(item_id=str(id_), plan=plan, **more) for id_ in PANEL.item_ids)
    found = book.answer(DemandRequest(what_if=changes)).what_if
    means = np.array([[period.mean for period in one.forecast] for one in found])
    return means, np.array([[[*period.quantiles.values()] for period in one.forecast] for one in found]), found


def planned_as(promotion: np.ndarray) -> PanelInputs:
    changed = PANEL.known_ahead | {"promotion": promotion.astype(np.float32)}
    return PanelInputs.from_panel(dataclasses.replace(PANEL, known_ahead=changed), CONFIG)


def test_what_if_when_nothing_changes_then_it_equals_the_stored_forecast(book: DemandBook) -> None:
    promotion = PANEL.known_ahead["promotion"][:, NUM_PERIODS:]
    row = int(np.flatnonzero(promotion.all(axis=1))[0])  # an item that is promoted throughout
    plan = PlanChange(item_id=str(PANEL.item_ids[row]), plan={"promotion": 1})
    answer = book.answer(DemandRequest(item_ids=(plan.item_id,), what_if=(plan,)))
    (stored,), (found,) = answer.items, answer.what_if
    for one, other in zip(stored.forecast, found.forecast, strict=True):
        assert (one.day, one.quantiles) == (other.day, other.quantiles)
        assert one.mean == pytest.approx(other.mean, rel=1e-4)
    assert found.total == found.total_as_planned
    assert stored.decision is not None
    assert found.decision is not None
    for name, value in found.decision.items():
        assert value == pytest.approx(stored.decision[name], abs=1e-3), name


def test_what_if_when_the_plan_changes_then_it_equals_the_network_on_a_panel_planned_so(
    book: DemandBook, model: DemandModel
) -> None:
    promotion = np.array(PANEL.known_ahead["promotion"])
    promotion[:, NUM_PERIODS + 2 : NUM_PERIODS + 5] = 0.7
    wanted = forecast(model, planned_as(promotion), NUM_PERIODS, calibration=CALIBRATION)
    start = PANEL.start.date()
    days = [start.fromordinal(start.toordinal() + NUM_PERIODS + step) for step in (2, 4)]
    means, quantiles, found = served(book, {"promotion": 0.7}, from_day=days[0], until_day=days[1])
    np.testing.assert_allclose(means, wanted.mean, rtol=1e-3, atol=1e-4)
    assert (quantiles == wanted.quantiles).mean() > 0.999  # a level that a probability just touches may round apart
    periods = np.full(PANEL.num_items, 3)
    mean, points = wanted.totals.total_quantiles(periods, (0.9,))
    np.testing.assert_allclose([one.decision["lead_mean"] for one in found], mean, rtol=1e-3)
    assert np.mean([one.decision["reorder_point_90"] for one in found] == points[:, 0]) > 0.95
    risk = 1 - wanted.totals.total_cdf(periods, np.full(len(periods), 25.0))
    np.testing.assert_allclose([one.decision["stockout_risk"] for one in found], risk, atol=1e-3)


def test_what_if_when_a_promotion_is_planned_then_it_sells_more_and_none_less(book: DemandBook) -> None:
    without, _, _ = served(book, {"promotion": None})
    promoted, _, _ = served(book, {"promotion": 1})
    lift = promoted.sum() / without.sum()
    assert 2 < lift < 4  # three times, planted
    assert ((promoted.sum(axis=1) / without.sum(axis=1)) > 1).all()


def test_network_when_asked_of_one_item_or_many_then_alike(book: DemandBook) -> None:
    assert book.what_if is not None
    network, rows = book.what_if.network, np.arange(PANEL.num_items)
    together = network.forecast(rows, network.plans(rows))[0].log_mean
    alone = [network.forecast(rows[[row]], network.plans(rows[[row]]))[0].log_mean[0] for row in (0, 7, 47)]
    np.testing.assert_allclose(together[[0, 7, 47]], alone, atol=1e-5)


def test_part_when_no_column_can_be_varied_then_it_holds_no_network(model: DemandModel, tmp_path: Path) -> None:
    bare = dataclasses.replace(PANEL, known_ahead={}, planned=())
    inputs = PanelInputs.from_panel(bare, CONFIG)
    write_what_if(tmp_path, DemandModel(inputs.sizes, CONFIG), bare, inputs)
    assert not list(tmp_path.iterdir())
