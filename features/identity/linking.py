"""From links to customers: what each link does, and whose each id is.

Three kinds of links, in this order:

    people    between accounts and personal ids     components of these are people
    groups    between shared ids                    components of these are groups: a device and its cookies
    mixed     from a group to people                a group that leads to one person joins it, one that leads to two
                                                    or more joins none

So no chain of devices, however long, makes one customer out of two accounts; only a personal id or a stated link
between two accounts does. What became of each link stands in its ``status``:

    used         the two ends are one customer
    denied       somebody said that it is wrong
    weak         seen fewer than ``min_sightings`` times
    placeholder  a personal id of more than ``max_accounts_per_id`` accounts
    oversized    left out because the customer would have more than ``max_ids`` ids
    apart        between ends that a denial keeps apart
    shared       a shared id that leads to two or more people
"""

from __future__ import annotations

from typing import Final

import narwhals as nw

from features.identity.components import components
from features.identity.evidence import LINK_COLUMNS, node
from features.identity.frames import Frame, kept, num_rows, stacked
from features.identity.settings import IdentitySettings

USED: Final = "used"
DENIED: Final = "denied"
WEAK: Final = "weak"
PLACEHOLDER: Final = "placeholder"
OVERSIZED: Final = "oversized"
APART: Final = "apart"
SHARED: Final = "shared"
STATUSES: Final = (USED, DENIED, WEAK, PLACEHOLDER, OVERSIZED, APART, SHARED)
_PAIR: Final = ("node_a", "node_b")
_ROOTED: Final = ("node", "root")


def judged_links(links: Frame, denials: Frame, settings: IdentitySettings) -> tuple[Frame, Frame]:
    """Return the links with their status, and whose each id is.

    Args:
        links: ``LINK_COLUMNS``, one row a pair.
        denials: node_a, node_b, leaves: pairs that are not one customer, and which of the two goes where other links
            still join them.
        settings: types and limits.

    Returns:
        ``LINK_COLUMNS``, node_a, node_b, status; and node, root: one row an id, ``root`` the same text for all ids of
        one customer.
    """
    ends = [node(f"id_{x}", f"type_{x}").alias(f"node_{x}") for x in "ab"]
    links = kept(links.select(*LINK_COLUMNS, *ends))
    status = _judge_alone(links, denials, settings)
    sound = status.filter(nw.col("status") == USED).select(*LINK_COLUMNS, *_PAIR)
    one, other = (_belongs_to_one(f"type_{x}", settings) for x in "ab")
    people, people_left = _bounded(sound.filter(one & other), denials, limit=settings.max_ids)
    groups, groups_left = _bounded(sound.filter(~one & ~other), denials, limit=settings.max_ids)
    mixed = _mixed(sound, settings)
    joined, mixed_left = _joined(mixed, people, groups, denials, limit=settings.max_ids)
    left = stacked(people_left, groups_left, mixed_left)
    judged = status.join(left, on=list(_PAIR), how="left")
    better = nw.coalesce("left", "status").alias("status")
    return kept(judged.select(*LINK_COLUMNS, *_PAIR, better)), _roots(links, people, groups, joined)


def nodes_of(links: Frame) -> Frame:
    """Return the distinct ends of links: id, id_type, node."""
    ends = [
        links.select(
            nw.col(f"id_{x}").alias("id"), nw.col(f"type_{x}").alias("id_type"), nw.col(f"node_{x}").alias("node")
        )
        for x in "ab"
    ]
    return stacked(*ends).unique()


def _belongs_to_one(type_column: str, settings: IdentitySettings) -> nw.Expr:
    return nw.col(type_column).is_in([*settings.accounts, *settings.personal])


def _judge_alone(links: Frame, denials: Frame, settings: IdentitySettings) -> Frame:
    """Judge what can be said of a link by itself."""
    links = links.join(denials.select(*_PAIR, nw.lit(DENIED).alias("denied")).unique(), on=list(_PAIR), how="left")
    placeholders = _placeholders(links, settings).select("node", nw.lit(PLACEHOLDER).alias("placeholder"))
    for x in "ab":
        known = placeholders.select(nw.col("node").alias(f"node_{x}"), nw.col("placeholder").alias(f"placeholder_{x}"))
        links = links.join(known, on=f"node_{x}", how="left")
    weak = nw.when(nw.col("count") < settings.min_sightings).then(nw.lit(WEAK)).otherwise(nw.lit(USED))
    status = nw.coalesce(nw.col("denied"), nw.col("placeholder_a"), nw.col("placeholder_b"), weak)
    return kept(links.select(*LINK_COLUMNS, *_PAIR, status.alias("status")))


def _placeholders(links: Frame, settings: IdentitySettings) -> Frame:
    """Personal ids that are linked with more accounts than a person has."""
    sides = [
        links.filter(
            nw.col(f"type_{x}").is_in(list(settings.personal)) & nw.col(f"type_{y}").is_in(list(settings.accounts))
        ).select(nw.col(f"node_{x}").alias("node"), nw.col(f"node_{y}").alias("account"))
        for x, y in ("ab", "ba")
    ]
    counts = stacked(*sides).group_by("node").agg(nw.col("account").n_unique().alias("accounts"))
    return counts.filter(nw.col("accounts") > settings.max_accounts_per_id)


def _bounded(links: Frame, denials: Frame, *, limit: int) -> tuple[Frame, Frame]:
    """Return the components of links, none above the limit and none with a denied pair; and the links left out for it.

    Of a component above the limit, links that were seen once go, then those seen fewer than 4 times, then 8, until
    what remains fits. Of a denied pair that others still join, the one that ``leaves`` loses its links.

    Returns:
        node, root; and node_a, node_b, left.
    """
    found, cut = _cut(links, limit=limit, least=2)
    if not num_rows(denials):
        return found, cut
    apart = kept(_one_component(denials, found).select(nw.col("leaves").alias("node")).unique())
    if not num_rows(apart):
        return found, cut
    leaving = [links.join(apart.select(nw.col("node").alias(end)), on=end, how="semi").select(*_PAIR) for end in _PAIR]
    gone = stacked(*leaving).unique().join(cut.select(*_PAIR), on=list(_PAIR), how="anti")
    gone = kept(gone.with_columns(nw.lit(APART).alias("left")))
    out = kept(stacked(cut, gone))
    return components(links.join(out, on=list(_PAIR), how="anti")), out


def _cut(links: Frame, *, limit: int, least: int) -> tuple[Frame, Frame]:
    found = components(links)
    sizes = found.group_by("root").agg(nw.len().alias("size"))
    giant = kept(found.join(sizes.filter(nw.col("size") > limit), on="root", how="semi").select(*_ROOTED))
    inside = links.join(giant.select(nw.col("node").alias("node_a")), on="node_a", how="semi")
    none = links.filter(nw.col("node_a").is_null()).select(*_PAIR).with_columns(nw.lit(OVERSIZED).alias("left"))
    if not num_rows(giant):
        return found, none
    rest, left = _cut(inside.filter(nw.col("count") >= least), limit=limit, least=2 * least)
    weak = inside.filter(nw.col("count") < least).select(*_PAIR, nw.lit(OVERSIZED).alias("left"))
    return kept(stacked(found.join(giant, on="node", how="anti"), rest)), kept(stacked(weak, left))


def _one_component(denials: Frame, roots: Frame) -> Frame:
    """The denials whose two ends have one root."""
    a, b = (roots.select(nw.col("node").alias(f"node_{x}"), nw.col("root").alias(f"root_{x}")) for x in "ab")
    both = denials.join(a, on="node_a", how="inner").join(b, on="node_b", how="inner")
    return both.filter(nw.col("root_a") == nw.col("root_b"))


def _mixed(links: Frame, settings: IdentitySettings) -> Frame:
    """Links from a shared id to a person: device, person, and the pair as it stands in the links."""
    one, other = (_belongs_to_one(f"type_{x}", settings) for x in "ab")
    between = links.filter(one != other)
    device = nw.when(one).then(nw.col("node_b")).otherwise(nw.col("node_a")).alias("device")
    person = nw.when(one).then(nw.col("node_a")).otherwise(nw.col("node_b")).alias("person")
    return between.select(*_PAIR, "count", "last_seen", device, person)


def _joined(mixed: Frame, people: Frame, groups: Frame, denials: Frame, *, limit: int) -> tuple[Frame, Frame]:
    """Return the groups that join a person, and the mixed links of those that do not.

    Returns:
        group, owner (roots); and node_a, node_b, left.
    """
    rooted = _with_root(_with_root(mixed, people, "person", "owner"), groups, "device", "group")
    rooted = kept(rooted)
    owners = rooted.group_by("group").agg(
        nw.col("owner").n_unique().alias("owners"), nw.col("owner").min().alias("owner"), nw.col("count").sum()
    )
    single = owners.filter(nw.col("owners") == 1).select("group", "owner", nw.col("count").cast(nw.Int64))
    allowed = kept(_without_denied(single, people, groups, denials))
    fitting = kept(_fitting(allowed, people, groups, limit=limit))
    why = [
        owners.filter(nw.col("owners") > 1).select("group", nw.lit(SHARED).alias("left")),
        single.join(allowed, on="group", how="anti").select("group", nw.lit(APART).alias("left")),
        allowed.join(fitting, on="group", how="anti").select("group", nw.lit(OVERSIZED).alias("left")),
    ]
    left = rooted.join(stacked(*why), on="group", how="inner").select(*_PAIR, "left")
    return fitting, kept(left)


def _with_root(rows: Frame, roots: Frame, column: str, name: str) -> Frame:
    """Add the root of ``column``; an id without links of its own kind is its own root."""
    joined = rows.join(roots.select(nw.col("node").alias(column), nw.col("root").alias(name)), on=column, how="left")
    return joined.with_columns(nw.coalesce(name, column).alias(name))


def _without_denied(single: Frame, people: Frame, groups: Frame, denials: Frame) -> Frame:
    """Leave out a group of which one id is denied to belong with an id of the person."""
    if not num_rows(denials):
        return single
    both = stacked(
        denials.select(*_PAIR), denials.select(nw.col("node_b").alias("node_a"), nw.col("node_a").alias("node_b"))
    )
    both = _with_root(_with_root(both, people, "node_a", "owner"), groups, "node_b", "group")
    return single.join(both.select("group", "owner"), on=["group", "owner"], how="anti")


def _fitting(single: Frame, people: Frame, groups: Frame, *, limit: int) -> Frame:
    """Keep a person's groups in order of evidence while their ids together are at most ``limit``."""
    people_sizes = people.group_by("root").agg(nw.len().alias("ids")).select(nw.col("root").alias("owner"), "ids")
    group_sizes = groups.group_by("root").agg(nw.len().alias("size")).select(nw.col("root").alias("group"), "size")
    sized = single.join(people_sizes, on="owner", how="left").join(group_sizes, on="group", how="left")
    sized = sized.with_columns(
        nw.col("ids").fill_null(1).cast(nw.Int64),
        nw.col("size").fill_null(1).cast(nw.Int64),
        (0 - nw.col("count")).alias("order"),
    )
    total = nw.col("size").cum_sum().over("owner", order_by=["order", "group"]).cast(nw.Int64)
    return (
        sized.with_columns(total.alias("total"))
        .filter(nw.col("ids") + nw.col("total") <= limit)
        .select("group", "owner")
    )


def _roots(links: Frame, people: Frame, groups: Frame, joined: Frame) -> Frame:
    """Whose each id is; an id that nothing joins is its own."""
    own = _with_root(nodes_of(links).select("node"), stacked(people, groups), "node", "own")
    owned = own.join(joined.select(nw.col("group").alias("own"), "owner"), on="own", how="left")
    return kept(owned.select("node", nw.coalesce("owner", "own").alias("root")))
