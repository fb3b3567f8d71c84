"""Small worlds of ids, and the rules of linking said once more in plain loops."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import pandas as pd

from features.identity.graph import IdentityGraph
from features.identity.settings import IdentitySettings
from tests.features.tiny_shop import utc

FIRST_AT = pd.Timestamp(utc("2024-05-01 00:00"))
TYPES = {"u": "user_id", "d": "device_id", "c": "cookie", "e": "email", "x": "till_receipt"}  # x: in no list: shared
Link = tuple[str, str, int, int]  # id_a, id_b, day, count
Pair = tuple[str, str]


def links_frame(links: Iterable[Link], *, reason: str = "event") -> pd.DataFrame:
    """``("d1", "u1", 3, 2)``: device d1 and account u1, first seen on day 3, twice; a type by its first letter."""
    rows = [_row(*link, reason) for link in links]
    frame = pd.DataFrame(
        rows, columns=["id_a", "type_a", "id_b", "type_b", "first_seen", "last_seen", "count", "reason"]
    )
    instants = {"first_seen": "datetime64[us, UTC]", "last_seen": "datetime64[us, UTC]", "count": "int64"}
    return frame.astype(dict.fromkeys(["id_a", "type_a", "id_b", "type_b", "reason"], "str") | instants)


def denials_frame(pairs: Iterable[Pair] = ()) -> pd.DataFrame:
    rows = [(a, TYPES[a[0]], b, TYPES[b[0]]) for a, b in pairs]
    return pd.DataFrame(rows, columns=["id_a", "type_a", "id_b", "type_b"]).astype("str")


def _row(one: str, other: str, day: int, count: int, reason: str) -> tuple[Any, ...]:
    a, b = sorted([one, other], key=node)
    at = FIRST_AT + pd.Timedelta(days=day)
    return (a, TYPES[a[0]], b, TYPES[b[0]], at, at + pd.Timedelta(days=count), count, reason)


def node(one: str) -> str:
    return f"{TYPES[one[0]]}:{one}"


def random_links(seed: int, num_links: int = 25, *, letters: str = "uuuddceex", num_worlds: int = 20) -> list[Link]:
    """Distinct pairs among few ids, so that rules meet; in worlds that no link joins, since a build costs the same."""
    generator = random.Random(seed)
    found: dict[frozenset[str], Link] = {}
    for world in range(num_worlds):
        for _ in range(generator.randrange(num_links)):
            a, b = (f"{generator.choice(letters)}{generator.randrange(6)}.{world}" for _ in range(2))
            if a != b:
                found[frozenset((a, b))] = (a, b, generator.randrange(9), generator.choice([1, 1, 2, 5, 9]))
    return list(found.values())


def random_pairs(seed: int, links: list[Link], *, num_pairs: int = 20) -> list[Pair]:
    """Pairs of ids of one world, to be denied."""
    generator = random.Random(seed)
    ids = sorted({one for link in links for one in link[:2]})
    pairs = (
        generator.sample([x for x in ids if x.endswith(f".{world}")] + ["u0", "u1"], 2) for world in range(num_pairs)
    )
    return [(a, b) for a, b in pairs]


def build(
    links: Iterable[Link], denied: Iterable[Pair] = (), settings: IdentitySettings | None = None
) -> IdentityGraph:
    return IdentityGraph.build(links_frame(links), denials_frame(denied), settings or IdentitySettings())


def customers_of(graph: IdentityGraph) -> dict[str, str]:
    return dict(zip(graph.ids["id"], graph.ids["customer_id"], strict=True))


def statuses_of(graph: IdentityGraph) -> dict[frozenset[str], str]:
    rows = graph.links
    return {frozenset(pair): status for *pair, status in zip(rows["id_a"], rows["id_b"], rows["status"], strict=True)}


def components_by_search(pairs: Iterable[Pair]) -> dict[str, str]:
    """The least node of each node's component, by walking."""
    near: dict[str, set[str]] = {}
    for a, b in pairs:
        near.setdefault(a, set()).add(b)
        near.setdefault(b, set()).add(a)
    root: dict[str, str] = {}
    for start in sorted(near):
        if start in root:
            continue
        waiting = [start]
        while waiting:
            here = waiting.pop()
            if here not in root:
                root[here] = start
                waiting.extend(near[here])
    return root


def customers_by_loops(links: list[Link], denied: list[Pair], settings: IdentitySettings) -> dict[str, str]:
    """The rules of ``features.identity.linking``, one after another."""
    one_person = {*settings.accounts, *settings.personal}
    accounts: dict[str, set[str]] = {}
    for a, b, _, _ in links:
        for x, y in ((a, b), (b, a)):
            if TYPES[x[0]] in settings.personal and TYPES[y[0]] in settings.accounts:
                accounts.setdefault(x, set()).add(y)
    junk = {x for x, linked in accounts.items() if len(linked) > settings.max_accounts_per_id}
    wrong = {frozenset(pair) for pair in denied}
    sound = [
        link
        for link in links
        if frozenset(link[:2]) not in wrong and link[3] >= settings.min_sightings and not junk & set(link[:2])
    ]
    personal = {x for link in links for x in link[:2] if TYPES[x[0]] in one_person}
    people = _bounded([x for x in sound if personal >= set(x[:2])], denied, settings.max_ids)
    groups = _bounded([x for x in sound if not personal & set(x[:2])], denied, settings.max_ids)
    owner = {x: people.get(x, x) for x in personal}
    group = {x: groups.get(x, x) for link in links for x in link[:2] if x not in personal}
    found: dict[str, list[tuple[str, int]]] = {}
    for a, b, _, count in sound:
        if len(personal & {a, b}) == 1:
            device, person = (a, b) if b in personal else (b, a)
            found.setdefault(group[device], []).append((owner[person], count))
    joins = _joins(found, owner, group, denied, settings.max_ids)
    root = owner | {x: joins.get(g, g) for x, g in group.items()}
    return _names(root, links, settings)


def _joins(
    found: dict[str, list[tuple[str, int]]],
    owner: dict[str, str],
    group: dict[str, str],
    denied: list[Pair],
    limit: int,
) -> dict[str, str]:
    apart = {(owner.get(x), group.get(y)) for a, b in denied for x, y in ((a, b), (b, a))}
    single = {
        g: (owners[0][0], sum(n for _, n in owners))
        for g, owners in found.items()
        if len({o for o, _ in owners}) == 1 and (owners[0][0], g) not in apart
    }
    size = {o: sum(x == o for x in owner.values()) for o in set(owner.values())}
    joins = {}
    for g, (o, _) in sorted(single.items(), key=lambda x: (-x[1][1], node(x[0]))):
        size[o] += sum(x == g for x in group.values())
        if size[o] <= limit:
            joins[g] = o
    return joins


def _bounded(links: list[Link], denied: list[Pair], limit: int) -> dict[str, str]:
    kept, least = links, 2
    while True:
        root = components_by_search(x[:2] for x in kept)
        giant = {x for x, r in root.items() if sum(other == r for other in root.values()) > limit}
        if not giant:
            break
        kept = [x for x in kept if x[0] not in giant or x[3] >= least]
        least *= 2
    leaving = {b for a, b in denied if a in root and root.get(a) == root.get(b)}
    return components_by_search(x[:2] for x in kept if not leaving & set(x[:2]))


def _names(root: dict[str, str], links: list[Link], settings: IdentitySettings) -> dict[str, str]:
    seen: dict[str, int] = {}
    for a, b, day, _ in links:
        for x in (a, b):
            seen[x] = min(day, seen.get(x, day))
    first: dict[str, str] = {}
    for x in sorted(root, key=lambda x: (TYPES[x[0]] not in settings.accounts, seen[x], node(x))):
        first.setdefault(root[x], x)
    return {x: first[r] for x, r in root.items()}
