"""Best attempts: event strings worked out by hand, and a slow reference that tries every chain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.insight.collecting import collected
from features.insight.funnels.attempts import funnel
from features.insight.funnels.definition import FunnelDefinition
from features.insight.funnels.steps import Exclusion, Step
from tests.features.insight.funnel_reference import LETTERS, Best, Event, best_attempt
from tests.features.insight.funnel_worlds import HOUR_US, START_US, bests, funnel_of, hours, log_of, spelled, step

HOUR = 1 / 24
# In each mode: string of events -> hours at which the steps of the best attempt were reached.
ORDERED = {
    "A B C": "0 1 2",
    "A B C B D": "0 1 2",
    "B A C": "1 - -",  # C without B
    "C B A": "2 - -",
    "A S B X C": "0 2 4",  # others in between
    "A0 A1 B2 C3": "1 2 3",  # the last A before the B
    "A0 B1 B2 C3": "0 1 3",  # the first B after the A
    "A0 B1 A2 C3": "0 1 3",  # A at 2 gets no further
    "A0 B1 A2 B3 C4": "2 3 4",
    "A0 B1 C2 A3 B4 C5": "0 1 2",  # the first to convert
    "A0 B1 C30": "0 1 -",  # a day is over
    "A0 B1 C24": "0 1 24",  # just in time
    "A0 A10 B11 C30": "10 11 30",  # the later A's window reaches further
    "A0 B1 A10 C30": "0 1 -",
    "A0 B0 C0": "0 0 0",  # at one instant, ids in order
    "B0 A0 C0": "0 0 0",  # or in any other: the steps' own order counts
    "C0 B0 A0 A1": "0 0 0",
    "B1 A1 A0 C2": "1 1 2",
    "B C D": None,
}
STRICT = {
    "A B C": "0 1 2",
    "A B C B D": "0 1 2",
    "A B A C": "0 1 -",
    "A S B C": "0 - -",  # a search in between
    "A I B I C": "0 2 4",  # what the shop shows in between is nothing that the customer did
    "A A B C": "1 2 3",
    "A B S A B C": "3 4 5",
    "A0 B1 C30": "0 1 -",
    "C0 B0 A0": "0 0 0",
}
ANY = {
    "C B A": "0 1 2",
    "B A C": "0 1 2",
    "A A A": "0 - -",
    "A B C B D": "0 1 2",
    "A0 B30": "0 - -",
    "A0 B30 C31": "30 31 -",  # two within a day
    "C0 A20 B30 C31": "20 30 31",
    "S X": None,
}


def _found(
    connection: duckdb.DuckDBPyConnection, definition: FunnelDefinition, units: Mapping[str, Any]
) -> dict[str, Best]:
    table = collected(funnel(connection.from_arrow(log_of(units)), definition))
    assert table["deepest"].tolist() == [best.deepest for best in bests(table, len(definition.steps)).values()]
    assert (table["converted"] == table[f"step_{len(definition.steps)}_us"].notna()).all()
    return bests(table, len(definition.steps))


@pytest.mark.parametrize(("mode", "strings"), [("ordered", ORDERED), ("strict", STRICT), ("any", ANY)])
def test_attempts_when_events_are_spelled_then_as_worked_out_by_hand(
    mode: Any, strings: dict[str, str | None], connection: duckdb.DuckDBPyConnection
) -> None:
    definition = funnel_of("A", "B", "C", mode=mode, window_days=1)
    found = _found(connection, definition, {text: spelled(text) for text in strings})
    assert {text: hours(best) for text, best in found.items()} == {k: v for k, v in strings.items() if v is not None}


def test_attempts_when_steps_have_windows_of_their_own_then_the_way_that_keeps_them_is_found(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    definition = funnel_of("A", "B", step("C", within_days=2 * HOUR))
    strings = {"A0 B2 B6 C8": "0 6 8", "A0 B2 C8": "0 2 -", "A0 B2 B3 B4 C5": "0 3 5"}
    found = _found(connection, definition, {text: spelled(text) for text in strings})
    assert {text: hours(best) for text, best in found.items()} == strings


def test_attempts_when_an_exclusion_falls_between_then_the_attempt_ends_and_another_may_convert(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    definition = funnel_of("A", "B", "C", exclusions=(Exclusion(events=("remove_from_cart",), after="B"),))
    strings = {
        "A X B C": ("0 2 3", False),  # not between B and C
        "A B X C": ("0 1 -", True),
        "A B X B C": ("0 3 4", False),
        "A B X C A B C": ("4 5 6", False),
        "A B": ("0 1 -", False),
    }
    found = _found(connection, definition, {text: spelled(text) for text in strings})
    assert {text: (hours(best), best.excluded) for text, best in found.items()} == strings


def test_attempts_when_a_step_is_optional_then_it_may_be_left_out(connection: duckdb.DuckDBPyConnection) -> None:
    definition = funnel_of("A", step("B", optional=True), "C", window_days=1)
    strings = {"A B C": "0 1 2", "A C": "0 - 1", "A C B": "0 - 1", "A B": "0 1 -", "A0 B30": "0 - -", "B C": None}
    found = _found(connection, definition, {text: spelled(text) for text in strings})
    assert {text: hours(best) for text, best in found.items()} == {k: v for k, v in strings.items() if v}


@st.composite
def definitions(draw: st.DrawFn) -> FunnelDefinition:
    mode = draw(st.sampled_from(["ordered", "ordered", "ordered", "strict", "any"]))
    plain = draw(st.booleans())
    letters = draw(st.lists(st.sampled_from(["A", "B", "C", "D", "AB", "BC"]), min_size=2, max_size=4))
    steps = []
    for n, one in enumerate(letters):
        pace = draw(st.sampled_from([None, HOUR, 3 * HOUR])) if n and mode != "any" and not plain else None
        optional = mode == "ordered" and not plain and 0 < n < len(letters) - 1 and draw(st.booleans())
        events = tuple(LETTERS[letter] for letter in one)
        steps.append(Step(name=f"{n}{one}", events=events, within_days=pace, optional=optional))
    exclusions: tuple[Exclusion, ...] = ()
    if mode == "ordered" and not plain and draw(st.booleans()):
        required = [one.name for one in steps if not one.optional]
        after, before = sorted(draw(st.permutations(required))[:2])
        exclusions = (Exclusion(events=(LETTERS["X"],), after=after, before=before),)
    window = draw(st.sampled_from([3 * HOUR, 6 * HOUR, 1.0]))
    return FunnelDefinition(steps=tuple(steps), mode=mode, window_days=window, exclusions=exclusions)


@st.composite
def units(draw: st.DrawFn) -> dict[str, list[Event]]:
    found = {}
    for n in range(draw(st.integers(4, 12))):
        kinds = draw(st.lists(st.sampled_from("AABBCDXSI"), min_size=1, max_size=8))
        at_us, events = START_US, []
        for kind in kinds:
            at_us += draw(st.sampled_from([0, 0, 1, 2, 4])) * HOUR_US // 2  # several at one instant
            events.append(Event(LETTERS[kind], at_us))
        found[f"u{n}"] = events
    return found


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(definition=definitions(), logs=units())
def test_attempts_when_compared_with_all_chains_then_equal(
    definition: FunnelDefinition, logs: dict[str, list[Event]], connection: duckdb.DuckDBPyConnection
) -> None:
    expected = {unit: best_attempt(events, definition) for unit, events in logs.items()}
    assert _found(connection, definition, logs) == {unit: best for unit, best in expected.items() if best is not None}
