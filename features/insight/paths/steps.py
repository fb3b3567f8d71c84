"""The steps of each visit: events named, put in order, loops taken out.

events     10:00 view   10:01 view   10:02 cart   10:03 view   10:04 cart   10:05 purchase
none       view view cart view cart purchase
repeats    view cart view cart purchase
cycles     view cart purchase
"""

from __future__ import annotations

from typing import Any, Final, TypeVar, cast

import narwhals as nw

from features import columns as c
from features.errors import ConfigError, DataError, did_you_mean
from features.insight.collecting import collected
from features.insight.paths.definition import ANCHOR_BY_NODE, OF_ITEMS, NodeDefinition, PathDefinition
from features.tables.expressions import frame_of, is_type, marks
from features.tables.instants import EPOCH_US
from features.tables.sessions import VISIT_ID, session_events
from features.tables.sql import run

NODE: Final = "node"
LABEL: Final = "label"  # the step's name, or OTHER where it is none of the frequent ones
AUDIENCE: Final = "audience"
EVERYBODY: Final = "all"
IS_ANCHOR: Final = "is_anchor"
START, END, OTHER = "(start)", "(end)", "(other)"
VISIT: Final = f"{AUDIENCE}, {c.USER_ID}, {VISIT_ID}"
ORDER: Final = f"{EPOCH_US}, {c.EVENT_ID}"  # ends in a unique key
OVER_VISIT: Final = f"OVER (PARTITION BY {VISIT} ORDER BY {ORDER})"
# As `steps`, a query's first common table. Two rows of a run that alternates between two steps are one more turn of it
# where the run has them to spare: A B A B A is A B A, so that what follows still follows A.
_KEPT: Final = (c.EVENT_ID, NODE, LABEL, IS_ANCHOR)
_COLUMNS: Final = f"{VISIT}, {EPOCH_US}, {', '.join(_KEPT)}"
_REPEATS: Final = f"""
    distinct_steps AS (
        SELECT {_COLUMNS} FROM (
            SELECT *, lag({NODE}) {OVER_VISIT} AS before FROM {{rows}}) AS near
        WHERE before IS NULL OR before <> {NODE})"""
_CYCLES: Final = f"""
    turning AS (
        SELECT *, CASE WHEN {NODE} = lag({NODE}, 2) {OVER_VISIT} THEN 0 ELSE 1 END AS breaks FROM distinct_steps),
    runs AS (
        SELECT *, sum(breaks) OVER (PARTITION BY {VISIT} ORDER BY {ORDER}
                                    ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS run FROM turning),
    placed AS (
        SELECT *, count(*) OVER (PARTITION BY {VISIT}, run) AS long,
               row_number() OVER (PARTITION BY {VISIT}, run ORDER BY {ORDER}) AS place FROM runs),
    steps AS (
        SELECT {_COLUMNS} FROM placed
        WHERE place = 1 OR (place = long AND long % 2 = 0))"""
FrameT = TypeVar("FrameT")


def step_rows(events: FrameT, definition: PathDefinition, *, items: FrameT | None, audiences: FrameT | None) -> FrameT:
    """Return the events that are steps, each with its visit and its name; loops are still there.

    Returns:
        audience, user_id, visit_id, epoch_us, event_id, node, label, is_anchor (0 or 1).

    Raises:
        ConfigError: names need the items, and there are none.
        DataError: nothing is a step, or nothing is called as the anchor is.
    """
    named = named_events(frame_of(events), definition, items)
    names = _frequent(named, definition)
    label = nw.when(nw.col(NODE).is_in(names)).then(nw.col(NODE)).otherwise(nw.lit(OTHER))
    is_anchor = marks((nw.col(NODE) == definition.anchor).fill_null(False))
    labelled = named.with_columns(label.alias(LABEL), is_anchor.alias(IS_ANCHOR))
    visited = session_events(
        labelled.to_native(), gap_minutes=definition.gap_minutes, event_types=definition.visit_types, keep=_KEPT
    )
    rows = with_audience(frame_of(visited).filter(~nw.col(NODE).is_null()), audiences)
    return cast(FrameT, rows.select(AUDIENCE, c.USER_ID, VISIT_ID, EPOCH_US, *_KEPT).to_native())


def with_audience(rows: nw.LazyFrame[Any], audiences: object) -> nw.LazyFrame[Any]:
    """Return the rows of the audiences' customers with ``audience``; without any, all rows are of one."""
    if audiences is None:
        return rows.with_columns(nw.lit(EVERYBODY).alias(AUDIENCE))
    return rows.join(frame_of(audiences).select(c.USER_ID, AUDIENCE), on=c.USER_ID, how="inner")


def steps_query(definition: PathDefinition) -> str:
    """Return the SQL of the common tables that end in ``steps``, over ``{rows}`` of ``step_rows``."""
    if definition.collapse == "none":
        return "steps AS (SELECT * FROM {rows})"
    if definition.collapse == "repeats":
        return f"{_REPEATS}, steps AS (SELECT * FROM distinct_steps)"
    return f"{_REPEATS}, {_CYCLES}"


def path_steps(events: FrameT, definition: PathDefinition, *, items: FrameT | None = None) -> FrameT:
    """Return the steps of each visit in their order.

    Args:
        events: rows of the event log that serve analytics.
        definition: what a step is, and which loops are taken out; its anchor plays no part.
        items: the contract's items, where steps are named by category or brand.

    Returns:
        user_id, visit_id, step (from 1), node, epoch_us and event_id (of the first event of the step).
    """
    rows = step_rows(events, definition, items=items, audiences=None)
    text = f"""
        WITH {steps_query(definition)}
        SELECT {c.USER_ID}, {VISIT_ID}, CAST(row_number() {OVER_VISIT} AS BIGINT) AS step, {NODE}, {EPOCH_US}, {c.EVENT_ID}
        FROM steps"""
    return run(text, rows=rows)


def named_events(
    events: nw.LazyFrame[Any], definition: PathDefinition, items: object, *more: nw.Expr
) -> nw.LazyFrame[Any]:
    """Return the events of visits with ``node``, missing where an event is no step, and further expressions.

    Raises:
        ConfigError: names need the items, and there are none.
    """
    node = definition.node
    read = [c.USER_ID, c.SESSION_ID, c.TS, c.EVENT_ID, c.EVENT_TYPE]
    rows = events.filter(is_type(*definition.visit_types))
    if node.needs_items:
        if items is None:
            raise ConfigError(f"by: expected the items table for {', '.join(node.by)}, found none.")
        rows = rows.join(_item_names(node, items), on=c.ITEM_ID, how="left")
    name = _name(node)
    if definition.anchor_by != ANCHOR_BY_NODE:
        at_anchor = (nw.col(definition.anchor_by).cast(nw.String) == definition.anchor).fill_null(False)
        name = nw.when(at_anchor).then(nw.lit(definition.anchor)).otherwise(name)
    return rows.select(*read, name.alias(NODE), *more)


def _name(node: NodeDefinition) -> nw.Expr:
    parts = [_part(node, name) for name in node.by]
    joined = parts[0] if len(parts) == 1 else nw.concat_str(parts, separator=" | ")
    return nw.when(is_type(*node.event_types)).then(joined)


def _part(node: NodeDefinition, name: str) -> nw.Expr:
    value = nw.col(name).cast(nw.String)
    return value.fill_null(node.missing) if node.missing else value


def _item_names(node: NodeDefinition, items: object) -> nw.LazyFrame[Any]:
    first_parts = "[^/]*" + "(?:/[^/]*)?" * (node.depth - 1)
    names = {c.CATEGORY: f"regexp_extract({c.CATEGORY}, '^({first_parts})', 1) AS {c.CATEGORY}", c.BRAND: c.BRAND}
    columns = ", ".join(names[name] for name in node.by if name in OF_ITEMS)
    return frame_of(run(f"SELECT {c.ITEM_ID}, {columns} FROM {{items}}", items=items))


def _frequent(named: nw.LazyFrame[Any], definition: PathDefinition) -> list[str]:
    """The steps that keep their names: the most frequent by events, and the anchor."""
    counted = named.filter(~nw.col(NODE).is_null()).group_by(NODE).agg(nw.len().alias("n"))
    found = collected(counted.to_native()).sort_values(["n", NODE], ascending=[False, True])[NODE].tolist()
    if not found:
        raise DataError(
            f"paths: expected events with {' and '.join(definition.node.by)}, found none; name steps by another column."
        )
    anchor = definition.anchor
    if anchor and anchor not in found:
        hint = did_you_mean(anchor, found) or f" The log has {', '.join(map(str, found[:8]))}."
        raise DataError(f"anchor: expected a step of the log, found {anchor!r}.{hint}")
    return list(dict.fromkeys([*found[: definition.top], *([anchor] if anchor else [])]))
