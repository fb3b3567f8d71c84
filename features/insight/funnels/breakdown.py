"""A funnel by what its units are: a property at the first touch, at the last, or at a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeVar, get_args

from features import columns as c
from features.errors import ConfigError
from features.insight.definitions import check_choice, parsed
from features.insight.funnels.attempts import step_us
from features.insight.funnels.definition import FunnelDefinition
from features.insight.funnels.rows import columns_sql, group_column, renamed, step_column, step_rows
from features.rules.known_fields import EVENT_FIELDS
from features.tables.sql import run

Touch = Literal["first_touch", "last_touch", "step"]
TOUCHES: Final[tuple[Touch, ...]] = get_args(Touch)
FIELDS: Final = tuple(name for name, nature in EVENT_FIELDS.items() if nature in ("text", "path"))
MOST_BREAKDOWNS: Final = 3
OTHER: Final = "(other)"
FrameT = TypeVar("FrameT")


@dataclass(frozen=True, kw_only=True)
class Breakdown:
    """One property by which a funnel is taken apart.

    Args:
        field: a text field of events (channel, source, ...) or of items (category, brand, ...).
        touch: which of a unit's events tells it. ``first_touch``: the first event that is any step and has a value;
            ``last_touch``: the last one up to where the best attempt ended; ``step``: the event of the best attempt
            that was the step.
        step: name of that step; only with ``step``.

    Raises:
        ConfigError: a value does not fit.
    """

    field: str
    touch: Touch = "first_touch"
    step: str | None = None

    def __post_init__(self) -> None:
        check_choice("field", self.field, FIELDS)
        check_choice("touch", self.touch, TOUCHES)
        if (self.touch == "step") != (self.step is not None):
            found = self.touch if self.step is None else f"{self.touch} with step {self.step!r}"
            raise ConfigError(f"touch: expected 'step' with the name of a step, or a touch without one, found {found}.")

    @classmethod
    def parse(cls, values: object, *, where: str) -> Breakdown:
        """Return a breakdown from what YAML gave; a text is short for the property at the first touch."""
        return parsed(cls, {"field": values} if isinstance(values, str) else values, where=where)

    @property
    def column(self) -> str:
        """The column that holds it, such as ``channel_first_touch`` or ``brand_at_cart``."""
        return f"{self.field}_{self.touch}" if self.step is None else f"{self.field}_at_{self.step}"


def with_breakdowns(
    attempts: FrameT,
    events: FrameT,
    definition: FunnelDefinition,
    breakdowns: Sequence[Breakdown],
    items: FrameT | None = None,
    *,
    most_values: int = 25,
) -> FrameT:
    """Return ``attempts`` with a column a breakdown, for ``step_table(..., by=...)``.

    Args:
        attempts: from ``funnel``.
        events: rows of the event log that they were made from.
        definition: the funnel.
        breakdowns: one to three.
        items: the contract's items; needed for properties of items.
        most_values: of each property this many values stay, those of most units; others are ``(other)``.

    Raises:
        ConfigError: too many breakdowns, one twice, an unknown step, or items that are needed are not given.
    """
    _check(definition, breakdowns)
    kept = tuple(dict.fromkeys(one.field for one in breakdowns))
    rows = step_rows(events, definition, items, keep=kept)  # type: ignore[type-var] # a native frame
    found = run(_breakdown_sql(definition, breakdowns, most_values), attempts=attempts, did=rows)
    return renamed(found, {group_column(n): one.column for n, one in enumerate(breakdowns)})


def _check(definition: FunnelDefinition, breakdowns: Sequence[Breakdown]) -> None:
    if not 1 <= len(breakdowns) <= MOST_BREAKDOWNS:
        raise ConfigError(f"breakdowns: expected 1 to {MOST_BREAKDOWNS} properties, found {len(breakdowns)}.")
    columns = [one.column for one in breakdowns]
    for one in breakdowns:
        if columns.count(one.column) > 1:
            raise ConfigError(f"breakdowns: expected each once, found {one.column!r} twice.")
        if one.step is None:
            continue
        definition.position(one.step, place="breakdowns.step")
        if definition.mode == "any":
            raise ConfigError(
                "breakdowns: expected first_touch or last_touch where steps come in any order, found 'step'."
            )


def _breakdown_sql(definition: FunnelDefinition, breakdowns: Sequence[Breakdown], most: int) -> str:
    ctes = ["tries AS (SELECT * FROM {attempts})"]
    joins = []
    for number, one in enumerate(breakdowns):
        ctes += [
            f"told_{number} AS ({_told_sql(definition, one)})",
            f"named_{number} AS ({_named_sql(number, most)})",
        ]
        same = " AND ".join(f"tries.{key} = named_{number}.{key}" for key in definition.keys)
        joins.append(f"LEFT JOIN named_{number} ON {same}")
    columns = ", ".join(f"named_{number}.{group_column(number)}" for number in range(len(breakdowns)))
    return f"WITH {', '.join(ctes)} SELECT tries.*, {columns} FROM tries {' '.join(joins)}"


def _told_sql(definition: FunnelDefinition, one: Breakdown) -> str:
    """The value of each unit that has one: that of the first, by (ts, event_id), of the events that may tell it."""
    numbers = range(1, len(definition.steps) + 1)
    us = f"unix_micros(did.{c.TS})"
    if one.step is None:
        is_step = " OR ".join(step_column(n - 1) for n in numbers)
        condition = f"({is_step}) AND {us} <= greatest({', '.join(f'tries.{step_us(n)}' for n in numbers)})"
    else:
        position = definition.position(one.step, place="breakdowns.step")
        condition = f"{step_column(position)} AND {us} = tries.{step_us(position + 1)}"
    order = "DESC" if one.touch == "last_touch" else "ASC"
    same = " AND ".join(f"did.{key} = tries.{key}" for key in definition.keys)
    keys = columns_sql(definition.keys, "tries")
    return f"""
        SELECT {columns_sql(definition.keys)}, value FROM (
            SELECT {keys}, did.{one.field} AS value,
                   row_number() OVER (PARTITION BY {keys} ORDER BY {us} {order}, did.{c.EVENT_ID} {order}) AS place
            FROM tries JOIN {{did}} AS did ON {same} AND {condition}
            WHERE did.{one.field} IS NOT NULL)
        WHERE place = 1"""


def _named_sql(number: int, most: int) -> str:
    """The values that most units have, by name where as many have them; the others as one."""
    return f"""
        SELECT told_{number}.*, CASE WHEN place <= {most} THEN value ELSE '{OTHER}' END AS {group_column(number)}
        FROM told_{number} JOIN (
            SELECT value AS known, row_number() OVER (ORDER BY count(*) DESC, value) AS place
            FROM told_{number} GROUP BY value) AS ranks ON value = known"""
