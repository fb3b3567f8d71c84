"""What the pages say in words follows from the intervals, and claims no more."""

from __future__ import annotations

import pytest

from tests.training.report_samples import (
    around,
    cut,
    demand_report,
    policy_report,
    retrieval_report,
    row,
    table_of,
)
from training.report.demand import page_title as demand_title
from training.report.policy import page_title as policy_title
from training.report.retrieval import drawn_in_cuts
from training.report.retrieval_words import for_whom, in_short, page_title, standing


def test_page_title_when_ours_is_there_then_it_says_what_both_find() -> None:
    assert page_title(retrieval_report()) == (
        "The two-tower finds 6.2% of what customers choose next that is new to them; item-kNN finds 5.0%"
    )


def test_page_title_when_the_interval_holds_zero_then_it_claims_nothing() -> None:
    rows = [row("two-tower", 0.022, None), row("popularity", 0.0217, 0.0003)]
    assert page_title(retrieval_report(tables=[{"name": "new", "rows": rows}])) == (
        "The two-tower finds 2.2% of what customers choose next that is new to them, "
        "which cannot be told apart from popularity (2.2%)"
    )


@pytest.mark.parametrize(
    ("wql", "less", "expected"),
    [
        (0.54, [-0.06, -0.07, -0.05], "are 10% closer to what sold than quantiles"),
        (0.66, [0.06, 0.05, 0.07], "are 10% further from what sold than quantiles"),
        (0.59, [-0.01, -0.03, 0.01], "cannot be told apart from quantiles (WQL 0.590 and 0.600)"),
    ],
)
def test_demand_title_when_scores_differ_then_it_says_how_surely(wql: float, less: list[float], expected: str) -> None:
    models = [
        {"model": "demand model", "metrics": {"wql": wql}, "less_gate": less},
        {"model": "quantiles", "metrics": {"wql": 0.6}, "less_gate": None},
    ]
    report = demand_report(ours="demand model", gate="quantiles", models=models)
    assert demand_title(report) == f"The demand model's forecasts {expected}"


@pytest.mark.parametrize(
    ("difference", "kind", "words"),
    [
        (0.01, "better", "1.0 points more than the best baseline, item-kNN (95% interval +0.6 to +1.4)"),
        (-0.01, "worse", "1.0 points fewer than the best baseline, item-kNN (95% interval −1.4 to −0.6)"),
        (0.002, "even", "which cannot be told apart from the best baseline, item-kNN (5.0%; 95% interval"),
    ],
)
def test_standing_when_the_difference_has_an_interval_then_the_sentence_claims_no_more(
    difference: float, kind: str, words: str
) -> None:
    rows = row("two-tower", 0.06, None), row("item-kNN", 0.05, difference), row("popularity", 0.02, 0.04)
    (found,) = standing(retrieval_report(), table_of("new", [], *rows))
    assert found["kind"] == kind
    assert words in found["text"]


def test_standing_when_a_champion_and_a_blend_are_there_then_each_has_its_place() -> None:
    rows = (
        row("for_you", 0.07, None),
        row("two-tower", 0.06, 0.01),
        row("champion", 0.065, 0.005),
        row("item-kNN", 0.05, 0.02),
    )
    table = table_of("all", [], *rows)
    (others,) = standing(retrieval_report(), table)
    assert "the for_you list finds 7.0% in 20 suggestions, 2.0 points more than the best baseline" in others["text"]
    assert "item-kNN" in others["text"], "the parts of our own list are no rivals"
    of_towers = table_of("new", [], row("two-tower", 0.06, None), rows[3], row("champion", 0.055, 0.005))
    assert "than the two-tower that is served now" in standing(retrieval_report(), of_towers)[1]["text"]
    assert drawn_in_cuts(retrieval_report(), table) == ["for_you", "champion", "two-tower", "item-kNN"]


def test_for_whom_when_intervals_do_not_meet_then_the_groups_are_named() -> None:
    slices = [
        cut("up to 9 events", 0.09, 0.05),
        cut("over 9 events", 0.051, 0.05),
        cut("rare: the last fifth of events", 0.02, 0.04, group="Item popularity"),
        cut("everybody", 0.5, 0.1, num_users=990),
        cut("dormant", 0.9, 0.1, group="Customer lifecycle", num_users=2),
    ]
    works, fails = for_whom(retrieval_report(), table_of("new", slices))
    assert works["text"] == (
        "It works best for customers with up to 9 events (9.0%, next best 5.0%), among items new to the customer."
    )
    assert fails["text"] == "It falls behind for rare items (2.0%, best 4.0%), among items new to the customer."
    assert (works["kind"], fails["kind"]) == ("better", "worse")


def test_for_whom_when_intervals_meet_then_nothing_is_claimed() -> None:
    works, fails = for_whom(retrieval_report(), table_of("all", [cut("a", 0.052, 0.05), cut("b", 0.02, 0.019)]))
    assert works["text"].endswith("with repeats counted, though not beyond their intervals.")
    assert fails["text"] == "It is clearly behind in no group; it finds least, 2.0%, for customers with b."
    assert (works["kind"], fails["kind"]) == ("even", "even")


def test_in_short_when_there_are_baselines_alone_then_it_says_nothing() -> None:
    rows = [row("item-kNN", 0.05, None), row("popularity", 0.02, 0.03)]
    assert in_short(retrieval_report(ours=None, tables=[table_of("all", [], *rows)])) == []


@pytest.mark.parametrize(
    ("lead", "balanced", "expected"),
    [
        (0.01, True, "would raise what slot home earns, to an estimated 50.0 clicks per 1,000 showings; it got 40.0"),
        (-0.01, True, "would lower what slot home earns, to an estimated 50.0"),
        (0.001, True, "cannot be told apart from what slot home showed"),
        (0.01, False, "This log cannot tell what the two-tower would have earned in slot home"),
    ],
)
def test_policy_title_when_estimates_differ_then_it_says_how_surely(lead: float, balanced: bool, expected: str) -> None:
    report = policy_report()
    report["policies"][0]["lead"] = {"doubly_robust": around(lead)}
    report["policies"][0]["checks"]["balanced"] = balanced
    assert expected in policy_title(report)
