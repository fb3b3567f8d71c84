"""Orders, other plans and alerts, over an engine and over HTTP."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from scipy.stats import poisson

from serving.api.demand_schemas import AlertsRequest, DemandAnswer, DemandRequest, PlanChange
from serving.api.errors import RequestError
from serving.demand.plan_changes import PlanCalendar
from serving.engine import Engine
from serving.release.state import ReleaseState
from tests.serving.asking import engine_over
from tests.serving.tiny_release import build

FIRST = dt.date(2026, 11, 21)
LEVELS = np.arange(1, 10) / 10
both = {"price": 80, "promotion": 0.2}


def ask(engine: Engine, *changes: dict[str, Any], **more: Any) -> DemandAnswer:
    return engine.demand(DemandRequest(what_if=tuple(PlanChange(**change) for change in changes), **more))


def test_what_if_when_a_promotion_is_planned_then_its_days_sell_what_the_network_says(engine: Engine) -> None:
    change = {
        "item_id": "item-4",
        "plan": both,
        "from_day": FIRST + dt.timedelta(days=2),
        "until_day": dt.date(2026, 11, 24),
    }
    (found,) = ask(engine, change).what_if
    rates = np.full(14, 6.0)
    rates[2:4] *= np.exp(0.4)
    np.testing.assert_allclose([one.mean for one in found.forecast], rates, rtol=1e-4)
    assert [one.day for one in found.forecast][:2] == [FIRST, dt.date(2026, 11, 22)]
    assert list(found.forecast[2].quantiles.values()) == poisson(rates[2]).ppf(LEVELS).tolist()
    assert found.total.days == 14
    assert found.total.mean == pytest.approx(rates.sum(), rel=1e-4)
    assert list(found.total.quantiles.values()) == poisson(rates.sum()).ppf(LEVELS).tolist()
    assert found.total_as_planned.mean == pytest.approx(14 * 6)
    assert found.warnings == []
    assert found.decision is not None
    lead = poisson(rates[:7].sum())
    assert found.decision["lead_mean"] == pytest.approx(rates[:7].sum(), rel=1e-4)
    assert found.decision["reorder_point_90"] == lead.ppf(0.9)
    assert found.decision["order_up_to_95"] == poisson(rates[:10].sum()).ppf(0.95)  # 7 days and a review of 3


def test_what_if_when_a_plan_is_taken_away_then_it_sells_as_without(engine: Engine) -> None:
    (found,) = ask(engine, {"item_id": "item-1", "plan": {"price": None, "promotion": None}}, days=7).what_if
    assert found.total_as_planned.mean == pytest.approx(3 * (6 + np.exp(0.4)), rel=1e-4)
    assert (found.total.days, found.total.mean) == (7, pytest.approx(21))


def test_what_if_when_the_past_holds_nothing_like_it_then_it_warns(engine: Engine) -> None:
    changes = [
        {"item_id": "item-1", "plan": {"price": 30, "promotion": 0.3}},
        {"item_id": "item-2", "plan": both},
        {"item_id": "item-3", "plan": {"price": 80}},
    ]
    low, never, alone = (one.warnings for one in ask(engine, *changes).what_if)
    assert low == ["price: 30 is outside the range seen for this item, 50 to 100; the forecast extrapolates."]
    assert never == ["promotion: never planned for this item before; the forecast draws on other items."]
    assert alone == ["price without promotion: no item was ever planned so; the forecast has no example to go by."]


def test_what_if_when_asked_of_many_then_as_one_by_one(engine: Engine) -> None:
    changes = [{"item_id": f"item-{number % 20}", "plan": {"promotion": number / 1000}} for number in range(600)]
    found = ask(engine, *changes).what_if
    assert [one.item_id for one in found] == [change["item_id"] for change in changes]
    for number in (0, 255, 256, 599):
        assert ask(engine, changes[number]).what_if == [found[number]]


def test_calendar_when_periods_are_weeks_then_those_that_the_days_touch_are_changed() -> None:
    calendar = PlanCalendar(first_day=FIRST, period_days=7, horizon=4)
    assert calendar.last_day == dt.date(2026, 12, 18)

    def touched(start: int, stop: int) -> slice:
        days = [FIRST + dt.timedelta(days=day) for day in (start, stop)]
        return calendar.periods_of(PlanChange(item_id="a", plan=both, from_day=days[0], until_day=days[1]))

    assert touched(6, 7) == slice(0, 2)
    assert touched(7, 13) == slice(1, 2)
    assert calendar.periods_of(PlanChange(item_id="a", plan=both)) == slice(0, 4)


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (
            {"plan": {"price": -1}},
            "invalid_request",
            "what_if[0].plan.price: expected a price above 0, or null for none",
        ),
        ({"plan": {"price": 0}}, "invalid_request", "expected a price above 0"),
        ({"plan": {"promotion": -0.1}}, "invalid_request", "promotion: expected a number of 0 or more"),
        ({"plan": {"promotion": 1e300}}, "invalid_request", "(at most 1e+12), found 1e+300"),
        ({"plan": {"promotoin": 1}}, "unknown_plan_column", "found 'promotoin'. Did you mean 'promotion'?"),
        ({"plan": {"day_of_week": 1}}, "unknown_plan_column", "expected columns out of price, promotion"),
        (
            {"until_day": "2026-12-05"},
            "day_beyond_horizon",
            "expected a day from 2026-11-21 to 2026-12-04, found 2026-12-05",
        ),
        ({"from_day": "2026-11-20"}, "day_beyond_horizon", "what_if[0].from_day: expected a day from 2026-11-21"),
        (
            {"from_day": "2026-11-23", "until_day": "2026-11-22"},
            "invalid_request",
            "expected from_day before until_day",
        ),
        ({"plan": {}}, "invalid_request", "what_if[0].plan: expected `object` of length >= 1"),
        ({"price": 3}, "invalid_request", "unknown field `price`"),
    ],
)
def test_what_if_when_it_cannot_be_then_it_is_refused(
    http: httpx.Client, change: dict, code: str, message: str
) -> None:
    answer = http.post("/v1/demand", json={"what_if": [{"item_id": "item-1", "plan": {"promotion": 0.1}} | change]})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (422, code)
    assert message in error["message"]


def test_demand_when_items_are_unknown_or_the_horizon_ends_then_the_others_are_answered(http: httpx.Client) -> None:
    change = {"item_id": "item-3", "plan": both}
    body = {"item_ids": ["item-0", "nope"], "days": 30, "what_if": [change, change | {"item_id": "gone"}]}
    found = http.post("/v1/demand", json=body).json()
    assert [one["item_id"] for one in found["items"]] == ["item-0"]
    assert [one["item_id"] for one in found["what_if"]] == ["item-3"]
    assert found["unknown"] == ["nope", "gone"]
    assert found["assumptions"] == [
        "30 days were asked for; the forecasts end on 2026-12-04, 14 days ahead.",
        "The announced plan ends on 2026-11-30.",
    ]
    nothing = http.post("/v1/demand", json={})
    assert nothing.status_code == 422
    assert "Expected item_ids or what_if, found neither" in nothing.json()["error"]["message"]


def test_alerts_when_asked_over_http_then_the_first_of_each_kind_come_first(http: httpx.Client) -> None:
    found = http.get("/v1/demand/alerts", params={"limit": 3}).json()
    assert [(one["kind"], one["item_id"]) for one in found["alerts"]] == [
        ("slow_mover", "item-1"),
        ("riser", "item-9"),
        ("slow_mover", "item-2"),
    ]
    assert found["counts"] == {"reorder_now": 0, "protect": 0, "slow_mover": 3, "riser": 1}
    assert found["notes"] == ["Alerts to reorder are absent: no stock."]
    assert set(found["alerts"][0]) == {"kind", "item_id", "action", "quantity", "day", "reason"}
    risers = http.get("/v1/demand/alerts?kind=riser").json()["alerts"]
    assert [(one["item_id"], one["quantity"], one["day"]) for one in risers] == [("item-9", 12, "2026-11-21")]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (
            "kind=risers",
            "kind: expected one of protect, reorder_now, riser, slow_mover, found 'risers'. Did you mean 'riser'?",
        ),
        ("limit=0", "limit: expected `int` >= 1, found '0'."),
        ("limit=many", "limit: expected `int`"),
        ("limt=3", "Did you mean 'limit'?"),
    ],
)
def test_alerts_when_the_query_is_wrong_then_the_error_says_why(http: httpx.Client, query: str, message: str) -> None:
    answer = http.get(f"/v1/demand/alerts?{query}")
    assert answer.status_code == 422
    assert message in answer.json()["error"]["message"]


def test_openapi_when_read_then_it_describes_plans_and_the_alerts_parameters(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()
    parameters = document["paths"]["/v1/demand/alerts"]["get"]["parameters"]
    assert [(one["name"], one["in"], one["required"]) for one in parameters] == [
        ("kind", "query", False),
        ("limit", "query", False),
    ]
    schemas = document["components"]["schemas"]
    assert schemas["PlanChange"]["required"] == ["item_id", "plan"]
    assert "stockout_risk" in schemas["ItemDemand"]["properties"]["decision"]["description"]


def test_part_when_it_is_older_then_forecasts_are_answered_and_the_rest_says_why(tmp_path: Path) -> None:
    tiny = build(tmp_path / "store", num_items=30, num_users=3, plans=False)
    engine = engine_over(ReleaseState.load(tiny.store), tiny, tmp_path)
    assert len(engine.demand(DemandRequest(item_ids=("item-1",))).items) == 1
    with pytest.raises(RequestError, match="answers no other plan") as plan:
        ask(engine, {"item_id": "item-1", "plan": both})
    with pytest.raises(RequestError, match="made before there were alerts") as alerts:
        engine.alerts(AlertsRequest())
    assert plan.value.status == alerts.value.status == 503
