"""What a funnel may ask, and what it is told where it may not."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from features.errors import ConfigError
from features.insight.funnels.attempts import funnel
from features.insight.funnels.breakdown import Breakdown, with_breakdowns
from features.insight.funnels.definition import FunnelDefinition
from features.insight.funnels.items import item_funnels
from features.insight.funnels.steps import Exclusion, Step
from features.rules.conditions import FieldTest, Test
from tests.features.insight.funnel_worlds import funnel_of, step

CHECKOUT: dict[str, Any] = {
    "steps": [
        "view",
        {
            "name": "tea",
            "events": "cart",
            "where": {"category": "food/tea", "price": {"at_most": 9.5}},
            "within_days": 2,
        },
        {"name": "pay", "events": ["checkout", "purchase"]},
    ],
    "window_days": 7,
    "exclusions": [{"events": "remove_from_cart", "after": "tea"}],
}


def test_definition_when_read_from_a_mapping_then_as_built_by_hand() -> None:
    tea = (
        FieldTest(field="category", tests=(Test(operator="is", value="food/tea"),)),
        FieldTest(field="price", tests=(Test(operator="at_most", value=950),)),  # minor units
    )
    assert FunnelDefinition.parse(CHECKOUT, where="funnels.checkout") == FunnelDefinition(
        steps=(
            Step(name="view", events=("view",)),
            Step(name="tea", events=("cart",), where=tea, within_days=2),
            Step(name="pay", events=("checkout", "purchase")),
        ),
        window_days=7,
        exclusions=(Exclusion(events=("remove_from_cart",), after="tea"),),
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": ["view"]}, "funnels.checkout.steps: expected 2 to 12 of them, found 1"),
        ({"steps": "view"}, "funnels.checkout, steps: expected a list, found 'view'"),
        ({"steps": ["view", "purchse"]}, r"steps\[1\].events: expected an event type.*Did you mean 'purchase'"),
        ({"steps": ["view", "view"]}, "expected each name once, found 'view' twice"),
        ({"steps": ["view", {"events": "cart", "wher": {}}]}, r"found 'wher'. Did you mean 'where'"),
        ({"steps": ["view", {"events": "cart", "where": {"brnd": "a"}}]}, "found 'brnd'. Did you mean 'brand'"),
        ({"steps": ["view", {"name": "tea"}]}, r"steps\[1\]: expected events"),
        ({"window_days": -1}, "funnels.checkout.window_days: expected a number of days above 0, found -1"),
        ({"window_days": 1}, "steps.tea.within_days: expected at most the whole window of 1 days, found 2"),
        ({"steps": ["view", {"events": "cart", "within_days": 0}]}, "within_days: expected a number of days above 0"),
        (
            {"steps": ["view", {"events": "cart", "optional": "no"}, "purchase"]},
            "optional: expected true or false, found 'no'",
        ),
        ({"windw_days": 1}, "found 'windw_days'. Did you mean 'window_days'"),
        ({"mode": "orderd"}, "mode: expected one of ordered, strict, any, found 'orderd'. Did you mean 'ordered'"),
        ({"mode": "strict"}, "mode: expected ordered, as steps are optional or events excluded, found 'strict'"),
        ({"unit": "basket"}, "unit: expected one of user, session, user_item"),
        (
            {"exclusions": [{"events": "search", "after": "te"}]},
            "exclusions.after: expected a step .*Did you mean 'tea'",
        ),
        (
            {"exclusions": [{"events": "search", "after": "pay"}]},
            "expected 'after' to be an earlier step than 'before'",
        ),
        ({"exclusions": ["view"]}, "exclusions: expected events that are no step, found 'view', which step 'view' is"),
    ],
)
def test_definition_when_something_does_not_fit_then_it_says_where_and_what(change: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        FunnelDefinition.parse({**CHECKOUT, **change}, where="funnels.checkout")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: funnel_of(step("A", optional=True), "B"), "expected the first and the last not to be optional"),
        (lambda: funnel_of(step("A", within_days=1), "B"), "no within_days of the first"),
        (
            lambda: funnel_of("A", step("B", within_days=1), mode="any"),
            "expected ordered or strict, as a step has within_days",
        ),
        (lambda: Step(name="a", events=()), "steps.a.events: expected at least one event type, found none"),
        (lambda: Breakdown(field="chanel"), "field: expected one of .*Did you mean 'channel'"),
        (lambda: Breakdown(field="channel", touch="step"), "expected 'step' with the name of a step"),
        (lambda: Breakdown.parse({"fild": "channel"}, where="by"), "Did you mean 'field'"),
        (lambda: item_funnels(pd.DataFrame(), funnel_of("A", "B")), "expected user_item for the funnels of items"),
    ],
)
def test_values_when_they_do_not_fit_then_refused(make: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


def test_funnel_when_a_condition_needs_items_that_are_not_given_then_it_says_so() -> None:
    definition = FunnelDefinition.parse(CHECKOUT, where="funnels.checkout")
    events = pd.DataFrame(columns=["user_id", "event_type", "item_id", "ts", "event_id", "local_day", "price"])
    with pytest.raises(ConfigError, match="expected the items table, as it is about category, found none"):
        funnel(events, definition)


@pytest.mark.parametrize(
    ("breakdowns", "message"),
    [
        ([], "expected 1 to 3 properties, found 0"),
        ([Breakdown(field="channel")] * 2, "expected each once, found 'channel_first_touch' twice"),
        ([Breakdown(field="channel", touch="step", step="Z")], "breakdowns.step: expected a step"),
    ],
)
def test_breakdowns_when_they_do_not_fit_then_refused(breakdowns: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        with_breakdowns(pd.DataFrame(), pd.DataFrame(), funnel_of("A", "B"), breakdowns)
