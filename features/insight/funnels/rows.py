"""The rows that a funnel reads: which steps each event is, whose, and when.

user_id  ts     event_type  ->  user_id  step_1  step_2  moment
ann      10:00  view            ann      true    false   438926745600000001

Logs often tell time by the second, so that several events share one instant. They are taken in the order of the steps:
an event may follow whatever step comes before it, as if the customer had gone the way that the funnel asks about.
What is no step comes last; events of one step are taken in the order of their ids.

A **moment** is an instant, the place of its event among those of the instant, and the local day, in one whole number:
the least of several moments is the first instant together with the local day that it fell on.

    moment = 256 x (microseconds since 1970, UTC) + 8 x (number of the first step that the event is, from 0) + 1
             + (local day - UTC day)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar, cast

import narwhals as nw
from narwhals.typing import IntoFrameT

from features import columns as c
from features.errors import ConfigError
from features.insight.funnels.definition import SHOP_EVENTS, FunnelDefinition
from features.insight.funnels.steps import Exclusion, Step
from features.rules.comparisons import fields_pass
from features.tables.expressions import frame_of, is_type
from features.tables.sessions import VISIT_EVENTS, session_events

_PER_US: Final = 256
_US_BITS: Final = 8
_SLACK: Final = (
    127  # two moments differ by 256 x microseconds, and by less than this for their steps (at most 13) and days
)
OWN_COLUMNS: Final = (c.EVENT_ID, c.TS, c.LOCAL_DAY)
FrameT = TypeVar("FrameT")


def step_rows(
    events: IntoFrameT, definition: FunnelDefinition, items: IntoFrameT | None = None, *, keep: Sequence[str] = ()
) -> IntoFrameT:
    """Return the events that a funnel is about.

    Args:
        events: rows of the event log.
        definition: the funnel.
        items: the contract's items; needed where conditions name category, brand, title or labels.
        keep: further columns of the events or, with ``items``, of the items.

    Returns:
        The unit's keys, event_id, ts, local_day, step_1, step_2, ... (whether the event is that step), excluded_1, ...
        (whether it is that exclusion), and ``keep``.

    Raises:
        ConfigError: items are needed and not given.
    """
    rows = _rows_of_units(events, definition, keep)
    wanted = _item_columns(definition, keep)
    if wanted:
        if items is None:
            raise ConfigError(f"funnel: expected the items table, as it is about {', '.join(wanted)}, found none.")
        rows = rows.join(frame_of(items).select(c.ITEM_ID, *wanted), on=c.ITEM_ID, how="left")
    steps = {step_column(n): _is_one(step) for n, step in enumerate(definition.steps)}
    rows = rows.with_columns(**steps)
    if definition.exclusions:
        a_step = nw.any_horizontal(*(nw.col(name) for name in steps), ignore_nulls=False)
        rows = rows.with_columns(
            **{excluded_column(n): _is_one(x) & ~a_step for n, x in enumerate(definition.exclusions)}
        )
    flags = [*steps, *(excluded_column(n) for n in range(len(definition.exclusions)))]
    return rows.select(*dict.fromkeys([*definition.keys, *OWN_COLUMNS, *flags, *keep])).to_native()


def moment(definition: FunnelDefinition) -> str:
    """Return SQL of a row's moment, from its instant, its local day and its flags."""
    places = " ".join(f"WHEN {step_column(n)} THEN {8 * n}" for n in range(len(definition.steps)))
    return (
        f"unix_micros({c.TS}) * {_PER_US} + CASE {places} ELSE {8 * len(definition.steps)} END + 1 "
        f"+ unix_date(CAST({c.LOCAL_DAY} AS DATE)) - CAST(floor(unix_micros({c.TS}) / 86400000000.0) AS BIGINT)"
    )


def step_column(position: int) -> str:
    """Return the name of the flag of a step, by its position from 0.

    >>> step_column(0)
    'step_1'
    """
    return f"step_{position + 1}"


def excluded_column(position: int) -> str:
    """Return the name of the flag of an exclusion, by its position from 0."""
    return f"excluded_{position + 1}"


def within(later: str, earlier: str, window_us: int) -> str:
    """Return SQL of whether two moments lie no further apart than a window."""
    return f"{later} - {earlier} <= {window_us * _PER_US + _SLACK}"


def instant_us(moment: str) -> str:
    """Return SQL of a moment's instant, UTC microseconds."""
    return f"shiftright({moment}, {_US_BITS})"


def local_day(moment: str) -> str:
    """Return SQL of a moment's local day."""
    utc_day = f"CAST(floor({instant_us(moment)} / 86400000000.0) AS BIGINT)"
    shift = f"({moment} - shiftright({moment}, 3) * 8 - 1)"
    return f"date_from_unix_date(CAST({utc_day} + {shift} AS INT))"


def _rows_of_units(events: IntoFrameT, definition: FunnelDefinition, keep: Sequence[str]) -> nw.LazyFrame[Any]:
    read = _event_columns(definition, keep)
    if definition.unit == "session":
        kinds = tuple(dict.fromkeys([*VISIT_EVENTS, *definition.event_types]))
        visits = session_events(events, gap_minutes=definition.gap_minutes, event_types=kinds, keep=read)
        return _kept(frame_of(visits), definition)
    rows = _kept(frame_of(events), definition).select(*dict.fromkeys([*definition.keys, *read]))
    return rows.filter(~nw.col(c.ITEM_ID).is_null()) if definition.unit == "user_item" else rows


def _kept(rows: nw.LazyFrame[Any], definition: FunnelDefinition) -> nw.LazyFrame[Any]:
    if definition.mode != "strict":
        return rows.filter(is_type(*definition.event_types))
    aside = [name for name in SHOP_EVENTS if name not in definition.event_types]
    return rows.filter(~is_type(*aside)) if aside else rows


def _event_columns(definition: FunnelDefinition, keep: Sequence[str]) -> list[str]:
    from_items = _item_columns(definition, keep)
    fields = [name for name in (*definition.fields, *keep) if name not in from_items]
    item = [c.ITEM_ID] if from_items else []
    return list(dict.fromkeys([*OWN_COLUMNS, c.EVENT_TYPE, *item, *fields]))


def _item_columns(definition: FunnelDefinition, keep: Sequence[str]) -> list[str]:
    from_items = (c.CATEGORY, c.BRAND, c.TITLE, c.LABELS)
    return list(dict.fromkeys(name for name in (*definition.item_fields, *keep) if name in from_items))


def _is_one(one: Step | Exclusion) -> nw.Expr:
    found = is_type(*one.events)
    return found & fields_pass(one.where) if one.where else found


def group_column(number: int) -> str:
    """Return what SQL calls a column to group by, by its place: shops name steps, and so columns, as they like."""
    return f"by_{number}"


def renamed(frame: FrameT, names: Mapping[str, str]) -> FrameT:
    """Return a frame of any engine with columns renamed."""
    return cast(FrameT, frame_of(frame).rename(dict(names)).to_native())


def columns_sql(names: Iterable[str], table: str = "") -> str:
    """Return column names as SQL lists them, each of a table where one is named.

    >>> columns_sql(["user_id", "visit_id"], "a")
    'a.user_id, a.visit_id'
    """
    return ", ".join(f"{table}.{name}" if table else name for name in names)
