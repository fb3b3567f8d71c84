"""Rules of linking, by example and against plain loops; the update against the rebuild."""

from __future__ import annotations

import itertools
import random

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.identity.components import components
from features.identity.evidence import combined_links
from features.identity.graph import IdentityGraph
from features.identity.merge_log import merge_log
from features.identity.settings import IdentitySettings
from features.tables.expressions import frame_of
from tests.features.identity.identity_worlds import (
    build,
    components_by_search,
    customers_by_loops,
    customers_of,
    denials_frame,
    links_frame,
    random_links,
    random_pairs,
    statuses_of,
)

TIGHT = IdentitySettings(max_ids=4, max_accounts_per_id=2)
SETTINGS = [
    IdentitySettings(),
    TIGHT,
    IdentitySettings(min_sightings=2, accounts=("user_id", "cookie"), shared=("device_id",)),
]


def roots(pairs: list[tuple[str, str]]) -> dict[str, str]:
    frame = pd.DataFrame(pairs, columns=["node_a", "node_b"]).astype("str")
    found = components(frame_of(frame)).to_native()
    assert found["node"].is_unique
    return dict(zip(found["node"], found["root"], strict=True))


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=40))
@settings(max_examples=8, deadline=None)
def test_components_when_links_are_any_then_equal_to_a_walk(pairs: list[tuple[int, int]]) -> None:
    named = [(f"n{a:02}", f"n{b:02}") for a, b in pairs]
    assert roots(named) == components_by_search(named)


def test_components_when_the_path_is_long_and_shuffled_then_one() -> None:
    names = [f"n{number:04}" for number in range(500)]
    random.Random(1).shuffle(names)
    assert set(roots(list(itertools.pairwise(names))).values()) == {"n0000"}


def test_graph_when_a_device_has_one_account_then_it_joins_the_account() -> None:
    assert customers_of(build([("d1", "u1", 1, 1), ("d2", "u1", 2, 1)])) == {"d1": "u1", "d2": "u1", "u1": "u1"}


def test_graph_when_a_tablet_is_shared_then_nobody_merges_and_the_tablet_stays_alone() -> None:
    graph = build([("d1", "u1", 1, 9), ("d1", "u2", 2, 9), ("d2", "u2", 1, 1)])
    assert customers_of(graph) == {"d1": "d1", "u1": "u1", "u2": "u2", "d2": "u2"}
    assert statuses_of(graph)[frozenset(("d1", "u1"))] == "shared"


def test_graph_when_a_chain_of_devices_leads_to_two_accounts_then_nobody_merges() -> None:
    # u1 - d1 - c1 - d2 - u2: the three shared ids are one group that leads to two people.
    graph = build([("u1", "d1", 1, 1), ("d1", "c1", 1, 1), ("c1", "d2", 1, 1), ("d2", "u2", 1, 1)])
    found = customers_of(graph)
    assert (found["u1"], found["u2"]) == ("u1", "u2")
    assert found["d1"] == found["c1"] == found["d2"] not in ("u1", "u2")


def test_graph_when_two_accounts_have_one_email_then_the_older_names_the_customer() -> None:
    found = customers_of(build([("e1", "u1", 5, 1), ("e1", "u2", 3, 1), ("d1", "u1", 9, 1)]))
    assert found == {"u1": "u2", "u2": "u2", "e1": "u2", "d1": "u2"}


def test_graph_when_an_email_has_too_many_accounts_then_it_is_a_placeholder_and_merges_nothing() -> None:
    graph = build([("e1", f"u{number}", 1, 1) for number in range(3)], settings=TIGHT)
    assert len(set(customers_of(graph).values())) == 4
    assert set(statuses_of(graph).values()) == {"placeholder"}


def test_graph_when_a_customer_is_too_large_then_its_weakest_links_are_left_out() -> None:
    # Six ids, four allowed: links seen once go (u2 - e2), and what remains are two customers.
    links = [("u1", "e1", 1, 5), ("e1", "u2", 1, 5), ("u2", "e2", 1, 1), ("e2", "u3", 1, 5), ("u3", "e3", 1, 5)]
    graph = build(links, settings=TIGHT)
    assert statuses_of(graph)[frozenset(("u2", "e2"))] == "oversized"
    assert customers_of(graph) == {"u1": "u1", "e1": "u1", "u2": "u1", "e2": "u3", "u3": "u3", "e3": "u3"}


def test_graph_when_devices_are_too_many_then_the_least_used_are_left_out() -> None:
    graph = build([("u1", f"d{number}", 1, number + 1) for number in range(5)], settings=TIGHT)
    assert {one for one, customer in customers_of(graph).items() if customer == "u1"} == {"d2", "d3", "d4", "u1"}
    assert statuses_of(graph)[frozenset(("u1", "d0"))] == "oversized"


@pytest.mark.parametrize(
    ("denied", "expected"),
    [
        (("u1", "e1"), {"u1": "u1", "e1": "u2", "u2": "u2", "d1": "u2"}),  # the link itself
        (("u1", "u2"), {"u1": "u1", "e1": "u1", "u2": "u2", "d1": "u2"}),  # linked by the e-mail: the second leaves
        (("u2", "d1"), {"u1": "u1", "e1": "u1", "u2": "u1", "d1": "d1"}),  # a device that was sold
        (("u1", "d1"), {"u1": "u1", "e1": "u1", "u2": "u1", "d1": "d1"}),  # of the whole customer, by any of its ids
    ],
)
def test_graph_when_a_pair_is_denied_then_it_is_apart(denied: tuple[str, str], expected: dict[str, str]) -> None:
    graph = build([("u1", "e1", 1, 1), ("e1", "u2", 2, 1), ("u2", "d1", 1, 1)], [denied])
    assert customers_of(graph) == expected


@pytest.mark.parametrize("which", range(len(SETTINGS)))
def test_graph_when_links_are_any_then_equal_to_plain_loops(which: int) -> None:
    links = random_links(which, letters="uuuddceex" if which < 2 else "uuuddcee")
    pairs = random_pairs(which, links)
    graph = build(links, pairs, SETTINGS[which])
    assert customers_of(graph) == customers_by_loops(links, pairs, SETTINGS[which])
    assert len(graph.links) == len(links)


@given(st.integers(0, 10_000), st.floats(0, 1))
@settings(max_examples=3, deadline=None)
def test_updated_when_links_arrive_in_two_batches_then_equal_to_the_rebuild(seed: int, share: float) -> None:
    links = random_links(seed)
    denied = random_pairs(seed, links)
    random.Random(seed).shuffle(links)
    cut = round(share * len(links))
    second = links[cut:] + links[: cut // 5]  # some pairs are seen in both batches
    first = build(links[:cut], denied, TIGHT)
    updated = first.updated(links_frame(second, reason="login"), denials_frame(denied), TIGHT)
    both = combined_links(links_frame(links[:cut]), links_frame(second, reason="login"))
    rebuilt = IdentityGraph.build(both, denials_frame(denied), TIGHT)
    for name, keys in (("ids", ["id", "id_type"]), ("links", ["id_a", "type_a", "id_b", "type_b"])):
        one, other = (getattr(graph, name).sort_values(keys).reset_index(drop=True) for graph in (updated, rebuilt))
        pd.testing.assert_frame_equal(one, other, check_dtype=False)


def test_updated_when_links_are_later_then_a_customer_keeps_its_name_or_joins_an_older_one() -> None:
    links = random_links(5, letters="uuuee")
    earlier, later = [x for x in links if x[2] < 4], [x for x in links if x[2] >= 4]
    before = build(earlier)
    after = before.updated(links_frame(later), denials_frame(), IdentitySettings())
    found, seen = customers_of(after), dict(zip(after.ids["id"], after.ids["first_seen"], strict=True))
    moved = {x: y for x, y in customers_of(before).items() if found[x] != y and y.startswith("u")}
    assert moved
    for one, customer in moved.items():
        assert found[customer] == found[one]  # the whole customer moved
        assert (seen[found[one]], found[one]) < (seen[customer], customer)


def test_merge_log_when_ids_join_and_links_are_left_out_then_each_has_its_row_with_the_evidence() -> None:
    graph = build([("u1", "e1", 1, 3), ("e1", "u2", 2, 1), ("u2", "d1", 4, 2), ("d2", "u1", 1, 1), ("d2", "u5", 6, 1)])
    log = merge_log(graph).sort_values(["action", "id_a", "id_b"]).reset_index(drop=True)
    merged, left = log[log["action"] == "merged"], log[log["action"] == "left_out"]
    assert list(zip(merged["id_a"], merged["id_b"], merged["customer_id"], merged["count"], strict=True)) == [
        ("d1", "u2", "u1", 2),
        ("e1", "u1", "u1", 3),
        ("u2", "e1", "u1", 1),
    ]
    assert merged["reason"].tolist() == ["event"] * 3
    assert merged["at"].dt.day.tolist() == [5, 2, 3]
    assert list(zip(left["id_a"], left["id_b"], left["reason"], strict=True)) == [
        ("d2", "u1", "shared"),
        ("d2", "u5", "shared"),
    ]
