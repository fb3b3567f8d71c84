"""Paths: hand-worked visits, a slow reference, three engines, planted audiences."""

from __future__ import annotations

import datetime as dt
import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.contract.tables import EVENTS, ITEMS
from features.errors import ConfigError, DataError
from features.insight.collecting import collected
from features.insight.paths import (
    NodeDefinition,
    PathDefinition,
    link_counts,
    node_values,
    path_steps,
    sankey,
    search_counts,
    search_terms,
    step_counts,
    step_matrix,
    transition_counts,
    transition_matrix,
    two_audiences,
    value_counts,
)
from features.insight.paths.step_matrix import wide
from features.tables.sessions import session_events
from tests.features.engines import assert_equal_tables, canonical
from tests.features.insight.path_visits import LETTERS, NAMES, START, frame, visit, word
from tests.features.tiny_shop import arrow_table, event


@pytest.mark.parametrize(
    ("collapse", "letters", "expected"),
    [
        ("none", "AABCC", "AABCC"),
        ("repeats", "AABCC", "ABC"),
        ("repeats", "ABABC", "ABABC"),
        ("cycles", "ABABC", "ABC"),
        ("cycles", "ABABAC", "ABAC"),  # C follows A, and still does
        ("cycles", "AABBAAB", "AB"),
        ("cycles", "ABABCBC", "ABC"),
        ("cycles", "ABA", "ABA"),
        ("cycles", "ABCABC", "ABCABC"),
    ],
)
def test_steps_when_loops_are_taken_out_then_as_worked_by_hand(collapse: Any, letters: str, expected: str) -> None:
    steps = path_steps(frame(visit("u1", letters)), PathDefinition(collapse=collapse))
    assert word(steps) == expected
    assert steps.sort_values("step")["step"].tolist() == list(range(1, len(expected) + 1))


def test_transitions_when_there_are_three_visits_then_counts_and_probabilities_are_right() -> None:
    # visits: A A B, A (40 minutes later), B C of one session id across an hour
    rows = [
        *visit("u1", "AAB"),
        *visit("u1", "A", at=START + dt.timedelta(minutes=42)),
        event("u2", "search", START, session_id="s"),
        event("u2", "cart", START + dt.timedelta(hours=1), "i1", session_id="s"),
    ]
    found = transition_matrix(transition_counts(frame(rows), PathDefinition()))
    cells = {
        (NAMES.get(r.node, r.node), NAMES.get(r.next_node, r.next_node)): (r.visits, r.base) for r in found.itertuples()
    }
    assert cells == {
        ("(start)", "A"): (2, 3),
        ("(start)", "B"): (1, 3),
        ("A", "B"): (1, 2),
        ("A", "(end)"): (1, 2),
        ("B", "(end)"): (1, 2),
        ("B", "C"): (1, 2),
        ("C", "(end)"): (1, 1),
    }
    assert found.groupby("node")["share"].sum().tolist() == pytest.approx([1.0] * 4)


def _reference_steps(events: list[tuple[str, int, str, str | None]], collapse: str) -> list[tuple[str, list[str]]]:
    """Visits as lists of steps, slowly: minutes since the start, a gap of 30."""
    visits: list[tuple[str, list[str]]] = []
    for user in sorted({one[0] for one in events}):
        mine = sorted(
            (minute, place, kind, session) for place, (who, minute, kind, session) in enumerate(events) if who == user
        )
        named: dict[str, list[str]] = {}
        last, current = None, []
        for minute, _, kind, session in mine:
            if session is not None:
                named.setdefault(session, []).append(kind)
                continue
            if last is None or minute - last > 30:
                current = []
                visits.append((user, current))
            current.append(kind)
            last = minute
        visits += [(user, kinds) for kinds in named.values()]
    if collapse == "none":
        return visits
    once = [(user, [kind for kind, _ in itertools.groupby(kinds)]) for user, kinds in visits]
    return once if collapse == "repeats" else [(user, _without_turns(kinds)) for user, kinds in once]


def _without_turns(kinds: list[str]) -> list[str]:
    """Take two steps out wherever a turn is followed by itself, from the left, until there is none."""
    place = 0
    while place + 3 < len(kinds):
        if kinds[place : place + 2] == kinds[place + 2 : place + 4]:
            kinds = kinds[:place] + kinds[place + 2 :]
        else:
            place += 1
    return kinds


EVENT = st.tuples(
    st.sampled_from(["u1", "u2", "u3", "u4"]),
    st.integers(0, 200),
    st.sampled_from("ABCP"),
    st.sampled_from([None, None, "s1"]),
)


@settings(max_examples=8, deadline=None)
@given(events=st.lists(EVENT, min_size=1, max_size=60), collapse=st.sampled_from(["none", "repeats", "cycles"]))
def test_paths_when_compared_with_a_slow_reference_then_equal(
    events: list[tuple[str, int, str, str | None]], collapse: Any, connection: duckdb.DuckDBPyConnection
) -> None:
    told = frame([
        event(user, LETTERS[kind], START + dt.timedelta(minutes=minute), "i1", session_id=session)
        for user, minute, kind, session in events
    ])  # fmt: skip
    rows = connection.from_df(told)
    visits = _reference_steps(events, collapse)
    pairs = Counter(pair for _, kinds in visits for pair in itertools.pairwise(["(start)", *kinds, "(end)"]) if kinds)
    definition = PathDefinition(collapse=collapse)
    found = collected(transition_counts(rows, definition))
    assert {
        (NAMES.get(r.node, r.node), NAMES.get(r.next_node, r.next_node)): r.visits for r in found.itertuples()
    } == dict(pairs)
    if any("C" in kinds for _, kinds in visits):
        _assert_links(rows, visits, collapse)


def _assert_links(rows: Any, visits: list[tuple[str, list[str]]], collapse: Any) -> None:
    after, before = Counter(), Counter()
    for _, kinds in visits:
        if "C" in kinds:
            place = kinds.index("C")
            ahead = [*kinds[place:][:3], *(["(end)"] if len(kinds) - place < 3 else [])][:3]
            after.update((step, *pair) for step, pair in enumerate(itertools.pairwise(ahead)))
            back = [*kinds[: place + 1][::-1][:3], *(["(start)"] if place + 1 < 3 else [])][:3]
            before.update((-1 - step, two, one) for step, (one, two) in enumerate(itertools.pairwise(back)))
    for direction, expected in (("from", after), ("to", before)):
        definition = PathDefinition(collapse=collapse, anchor="cart", direction=direction, num_steps=2)
        links = collected(link_counts(rows, definition))
        found = {
            (r.step, NAMES.get(r.source, r.source), NAMES.get(r.target, r.target)): r.visits for r in links.itertuples()
        }
        assert found == dict(expected)


def test_sessions_when_no_event_has_an_id_then_as_the_hand_written_sql_says(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    events = connection.from_arrow(arrow_table(EVENTS, [row | {"session_id": None} for row in _many()]))
    events.create_view("all_events", replace=True)
    text = (Path(__file__).parents[3] / "benchmarks" / "insight_sessions.sql").read_text(encoding="utf-8")
    expected = canonical(connection.sql(text.replace("{events}", "all_events", 2)), ["event_id"])
    found = canonical(session_events(events, gap_minutes=30), ["event_id"])
    assert_equal_tables(found[["event_id", "user_id", "visit_id"]], expected)
    assert expected["visit_id"].nunique() > 3


def test_step_matrix_when_read_from_the_cart_then_each_step_sums_to_one() -> None:
    rows = [*visit("u1", "ACBP"), *visit("u2", "CA"), *visit("u3", "BC"), *visit("u4", "AB")]
    matrix = step_matrix(step_counts(frame(rows), PathDefinition(anchor="cart", num_steps=3)))
    table = wide(matrix)
    assert table[0].to_dict() == {"cart": 1, "search": 0, "view": 0, "purchase": 0, "(ended)": 0}
    assert table.loc[["search", "view", "(ended)"], 1].tolist() == pytest.approx([1 / 3] * 3)
    assert table.loc["purchase", 2] == pytest.approx(1 / 3)
    assert table.loc["(ended)", 2] == pytest.approx(2 / 3)
    assert table.sum().tolist() == pytest.approx([1.0] * 3)  # nobody has a third step


def test_sankey_when_only_two_steps_are_named_then_flows_are_kept_and_the_rest_is_other() -> None:
    rows = [*visit("u1", "AAABCP"), *visit("u2", "AABBD"), *visit("u3", "BA"), *visit("u4", "DCB")]
    links = sankey(link_counts(frame(rows), PathDefinition(top=2, num_steps=5)))
    assert set(links["source"]) | set(links["target"]) == {"(start)", "(end)", "(other)", "view", "search"}
    for step in range(1, 5):
        into = links[(links["step"] == step - 1) & (links["target"] != "(end)")].groupby("target")["visits"].sum()
        out = links[links["step"] == step].groupby("source")["visits"].sum()
        assert into.to_dict() == out.to_dict()
    assert links.loc[links["step"] == 0, "share"].sum() == pytest.approx(1.0)


def test_anchor_when_it_is_an_event_that_is_no_step_then_it_is_one() -> None:
    rows = [
        *visit("u1", "A", section="home"),
        *visit("u1", "A", at=START + dt.timedelta(minutes=1), section="sale"),
        *visit("u1", "P", at=START + dt.timedelta(minutes=2)),
    ]
    definition = PathDefinition(
        node=NodeDefinition(by=("section",)), anchor="purchase", anchor_by="event_type", direction="to", num_steps=3
    )
    links = sankey(link_counts(frame(rows), definition))
    assert links[["step", "source", "target"]].to_numpy().tolist() == [
        [-3, "(start)", "home"],
        [-2, "home", "sale"],
        [-1, "sale", "purchase"],
    ]


def test_node_when_named_by_type_and_category_then_the_path_is_cut_at_its_depth() -> None:
    items = arrow_table(ITEMS, [{"item_id": "i1", "category": "food/fruit/apple"}]).to_pandas()
    rows = [*visit("u1", "AC"), event("u1", "view", START + dt.timedelta(minutes=5), "unknown")]
    node = NodeDefinition(by=("event_type", "category"), depth=2, missing="?")
    steps = path_steps(frame(rows), PathDefinition(node=node), items=items)
    assert steps.sort_values("step")["node"].tolist() == ["view | food/fruit", "cart | food/fruit", "view | ?"]


def test_value_when_purchases_come_before_and_after_then_only_later_ones_count() -> None:
    rows = [
        *visit("u1", "BAPA"),  # 5.00 after search and after the first view
        *visit("u2", "PA"),  # bought before the view
        *visit("u3", "A"),
    ]
    found = node_values(value_counts(frame(rows), PathDefinition())).set_index("node")
    assert found["visits"].to_dict() == {"(all visits)": 3, "search": 1, "view": 3, "purchase": 2}
    assert found["converted"].to_dict() == {"(all visits)": 2, "search": 1, "view": 1, "purchase": 0}
    assert found["revenue_per_visit"].to_dict() == pytest.approx(
        {"(all visits)": 1000 / 3, "search": 500, "view": 500 / 3, "purchase": 0}
    )
    # Three customers with 500, 0, 0: the delta method of one visit each is the variance of the mean with n, not n - 1.
    reach = 1.959964 * np.std([500, 0, 0]) / np.sqrt(3)
    assert found.loc["view", "revenue_high"] == pytest.approx(500 / 3 + reach, rel=1e-6)


def test_search_when_terms_are_written_differently_then_one_term_with_what_followed() -> None:
    rows = [
        event("u1", "search", START, query=" Red  Shoes"),
        event("u1", "view", START + dt.timedelta(minutes=1), "i1"),
        event("u1", "search", START + dt.timedelta(minutes=2), query="boots"),
        event("u1", "purchase", START + dt.timedelta(minutes=15), "i1"),
        event("u2", "search", START, query="red shoes"),
        event("u3", "search", START, query=""),
    ]
    found = search_terms(search_counts(frame(rows), window_minutes=13)).set_index("term")
    assert found["searches"].to_dict() == {"red shoes": 2, "boots": 1}
    outcomes = ["viewed", "carted", "bought", "refined", "nothing"]
    assert found.loc["red shoes", outcomes].tolist() == [0.5, 0, 0, 0.5, 0.5]
    assert found.loc["boots", outcomes].tolist() == [0, 0, 1, 0, 0]


def _many() -> list[dict[str, Any]]:
    generator = np.random.default_rng(3)
    rows = []
    for place in range(300):
        at = START + dt.timedelta(minutes=int(generator.integers(0, 900)))
        kind = list(LETTERS.values())[generator.integers(0, 6)]
        rows.append(
            event(f"u{generator.integers(0, 9)}", kind, at, "i1", price=100, quantity=2,
                  session_id=[None, None, "s1"][generator.integers(0, 3)], query=["Hat", "cap "][place % 2])
        )  # fmt: skip
    return [{"event_id": f"e{place:03}"} | row for place, row in enumerate(rows)]


TABLES = {
    "sessions": (lambda e: session_events(e, gap_minutes=30), ["event_id"]),
    "transitions": (lambda e: transition_counts(e, PathDefinition(collapse="cycles", top=3)), ["node", "next_node"]),
    "steps": (lambda e: step_counts(e, PathDefinition(anchor="cart", direction="to")), ["step", "node"]),
    "value": (lambda e: value_counts(e, PathDefinition()), ["node"]),
    "search": (search_counts, ["term", "outcome"]),
}


@pytest.mark.xdist_group("spark")
@pytest.mark.parametrize("name", TABLES)
def test_paths_when_run_by_each_engine_then_equal(name: str, connection: duckdb.DuckDBPyConnection, spark: Any) -> None:
    make, keys = TABLES[name]
    events = arrow_table(EVENTS, _many())
    expected = canonical(make(events.to_pandas()), keys)
    assert len(expected) > 5
    assert_equal_tables(canonical(make(connection.from_arrow(events)), keys), expected)
    assert_equal_tables(canonical(make(spark.createDataFrame(events)), keys), expected)


def test_definition_when_read_from_yaml_then_columns_may_be_one_word_and_typos_are_named() -> None:
    read = PathDefinition.parse({"node": "section", "anchor": "cart page", "direction": "to"}, where="paths.cart")
    assert read == PathDefinition(node=NodeDefinition(by=("section",)), anchor="cart page", direction="to")
    with pytest.raises(
        ConfigError, match=r"paths\.x\.node\.by: expected one of .*found 'sektion'\. Did you mean 'section'"
    ):
        PathDefinition.parse({"node": ["sektion"]}, where="paths.x")
    with pytest.raises(ConfigError, match=r"paths\.x: expected one of .*found 'ancor'\. Did you mean 'anchor'"):
        PathDefinition.parse({"ancor": "cart"}, where="paths.x")


def test_paths_when_the_anchor_is_unknown_then_says_what_the_log_has() -> None:
    with pytest.raises(DataError, match=r"anchor: expected a step of the log, found 'crat'\. Did you mean 'cart'\?"):
        link_counts(frame(visit("u1", "AC")), PathDefinition(anchor="crat"))


def test_paths_when_nothing_is_a_step_then_says_by_what() -> None:
    with pytest.raises(DataError, match="expected events with slot, found none; name steps by another column"):
        transition_counts(frame(visit("u1", "AC")), PathDefinition(node=NodeDefinition(by=("slot",))))


def test_audiences_when_a_customer_is_in_both_then_refused() -> None:
    ids = [pd.DataFrame({"user_id": ["a", "b"]}), pd.DataFrame({"user_id": ["b"]})]
    with pytest.raises(DataError, match="expected each customer in one of 'first' and 'second', found 1 in both"):
        two_audiences(*ids)


def test_collected_when_a_relation_is_of_duckdb_then_pandas(connection: duckdb.DuckDBPyConnection) -> None:
    counts = collected(transition_counts(connection.from_df(frame(visit("u1", "AC"))), PathDefinition()))
    assert len(transition_matrix(counts)) == 3
