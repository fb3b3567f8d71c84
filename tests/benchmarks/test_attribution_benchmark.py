"""Small worlds in which a model of attribution is wrong, and another is right."""

from __future__ import annotations

import pytest

from benchmarks.attribution import credit_by_cause, error_of, world_rows
from benchmarks.attribution_worlds import WORLDS
from features.insight.attribution import AttributionDefinition, JourneyCounts, attribute
from features.sources.synthetic.channel_truth import CAUSES

MISPLACED = {
    row["model"]: row["metrics"]["misplaced"]
    for world in WORLDS
    for row in world_rows(world)
    if "misplaced" in row["metrics"]
}


@pytest.mark.parametrize(
    ("world", "wrong", "right"),
    [
        ("brand search closes", "last", "first"),
        ("a mail follows every visit", "markov", "shapley"),
        ("three mails, then a search", "shapley", "last"),
    ],
)
def test_world_when_it_is_there_to_catch_a_model_then_that_is_wrong_and_another_right(
    world: str, wrong: str, right: str
) -> None:
    assert MISPLACED[f"{world}: {wrong}"] > 0.5
    assert MISPLACED[f"{world}: {right}"] < 0.05


def test_world_when_mails_go_to_buyers_then_every_model_is_wrong() -> None:
    found = [value for name, value in MISPLACED.items() if name.startswith("mails for those who would buy anyway")]
    assert len(found) == 9
    assert min(found) > 0.25


def test_error_when_credit_is_compared_by_cause_then_those_who_came_by_themselves_are_one() -> None:
    counts = JourneyCounts.of_paths({("direct",): (6, 0, 1.0), ("email",): (3, 0, 1.0), ("referral",): (1, 0, 1.0)})
    credit = credit_by_cause(attribute(counts, AttributionDefinition(models=("last",)), num_samples=0)["last"])
    assert credit == {**dict.fromkeys(CAUSES, 0.0), "email": 3.0, "own accord": 7.0}
    truth = {**dict.fromkeys(CAUSES, 0.0), "email": 4.0, "push": 1.0}
    assert error_of(credit, truth) == pytest.approx(2 / 5)
