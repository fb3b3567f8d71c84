"""What a path is made of: which events are steps, what they are called, and where a path begins or ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

from features import columns as c
from features.contract.tables import EVENTS
from features.errors import ConfigError
from features.insight.definitions import check_choice, check_event_types, check_whole, parsed
from features.tables.visits import VISIT_EVENTS

Collapse = Literal["none", "repeats", "cycles"]
Direction = Literal["from", "to"]
Occurrence = Literal["first", "last"]
COLLAPSE: Final[tuple[Collapse, ...]] = get_args(Collapse)
ANCHOR_BY_NODE: Final = "node"
OF_ITEMS: Final = (c.CATEGORY, c.BRAND)
_COLUMNS: Final = tuple(name for name in EVENTS.column_names if name not in (c.USER_ID, c.TS, c.EVENT_ID))
_MOST_COLUMNS: Final = 3


@dataclass(frozen=True, kw_only=True)
class NodeDefinition:
    """What a step of a path is called.

        by ("event_type",)                   view, search, cart
        by ("section",)                      home/new, cart page; events without a section are no step
        by ("event_type", "category")        view | shoes, cart | shoes

    Args:
        by: one to three columns of the events, or ``category`` and ``brand`` of the item; values are joined by " | ".
        event_types: events that may be steps. A type beyond those of a visit also prolongs the visit.
        depth: parts of a category path that count: 1 makes ``a`` of ``a/b/c``.
        missing: what stands for a value that is missing; where empty, such an event is no step.
    """

    by: tuple[str, ...] = (c.EVENT_TYPE,)
    event_types: tuple[str, ...] = VISIT_EVENTS
    depth: int = 1
    missing: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.by, tuple) or not 1 <= len(self.by) <= _MOST_COLUMNS:
            raise ConfigError(f"by: expected a list of 1 to {_MOST_COLUMNS} columns, found {self.by!r}.")
        for name in self.by:
            check_choice("by", name, (*_COLUMNS, *OF_ITEMS))
        if len(set(self.by)) < len(self.by):
            raise ConfigError(f"by: expected different columns, found {', '.join(self.by)}.")
        check_event_types("event_types", self.event_types)
        if not self.event_types:
            raise ConfigError("event_types: expected at least one event type, found none; leave it out for a visit's.")
        check_whole("depth", self.depth, least=1, most=10)
        if not isinstance(self.missing, str):
            raise ConfigError(f"missing: expected a text, found {self.missing!r}.")

    @classmethod
    def parse(cls, mapping: object, *, where: str) -> NodeDefinition:
        """Read a definition from YAML: a mapping, one column or a list of columns.

        Raises:
            ConfigError: a name is unknown or a value does not fit; the message begins with ``where``.
        """
        if isinstance(mapping, str | list):
            mapping = {"by": [mapping] if isinstance(mapping, str) else mapping}
        if isinstance(mapping, Mapping) and isinstance(mapping.get("by"), str):
            mapping = {**mapping, "by": [mapping["by"]]}
        return parsed(cls, mapping, where=where)

    @property
    def needs_items(self) -> bool:
        """Whether the item's category or brand is part of the name."""
        return any(name in OF_ITEMS for name in self.by)


@dataclass(frozen=True, kw_only=True)
class PathDefinition:
    """A set of paths.

    Args:
        node: what a step is called.
        gap_minutes: a longer pause ends a visit that has no session id.
        collapse: ``repeats`` makes A B of A A B; ``cycles`` also makes A B C of A B A B C; ``none`` counts each event.
        anchor: the step that paths start from or end at; left out, the start or the end of the visit.
        anchor_by: the column that ``anchor`` is a value of, such as ``event_type``; an event that has it is a step of that
            name whatever ``node`` says. Left out, ``anchor`` is the name of a step.
        direction: ``from`` the anchor on, or ``to`` it.
        occurrence: which, where a visit has several.
        num_steps: steps away from the anchor that are followed.
        top: steps that are named, the most frequent (near the anchor, where paths have one); the others are "(other)".
    """

    node: NodeDefinition = field(default_factory=NodeDefinition)
    gap_minutes: int = 30
    collapse: Collapse = "repeats"
    anchor: str = ""
    anchor_by: str = ANCHOR_BY_NODE
    direction: Direction = "from"
    occurrence: Occurrence = "first"
    num_steps: int = 4
    top: int = 8

    def __post_init__(self) -> None:
        if not isinstance(self.node, NodeDefinition):
            raise ConfigError(f"node: expected a NodeDefinition, found {self.node!r}.")
        check_whole("gap_minutes", self.gap_minutes, least=1)
        check_choice("collapse", self.collapse, COLLAPSE)
        check_choice("anchor_by", self.anchor_by, (ANCHOR_BY_NODE, *_COLUMNS))
        check_choice("direction", self.direction, get_args(Direction))
        check_choice("occurrence", self.occurrence, get_args(Occurrence))
        check_whole("num_steps", self.num_steps, least=1, most=20)
        check_whole("top", self.top, least=1)
        if not isinstance(self.anchor, str):
            raise ConfigError(f"anchor: expected the name of a step, found {self.anchor!r}.")
        if self.anchor_by != ANCHOR_BY_NODE and not self.anchor:
            raise ConfigError(f"anchor: expected a value of {self.anchor_by}, found none.")
        if self.anchor_by == c.EVENT_TYPE:
            check_choice("anchor", self.anchor, c.EVENT_TYPES)

    @classmethod
    def parse(cls, mapping: object, *, where: str) -> PathDefinition:
        """Read a definition from a YAML mapping, in which ``node`` is a mapping, a column or a list of columns.

        Raises:
            ConfigError: a name is unknown or a value does not fit; the message begins with ``where``.
        """
        return parsed(cls, mapping, where=where, parts={"node": NodeDefinition})

    @property
    def visit_types(self) -> tuple[str, ...]:
        """Event types that make a visit: those of every visit, the steps' and the anchor's."""
        anchor = (self.anchor,) if self.anchor_by == c.EVENT_TYPE else ()
        return tuple(dict.fromkeys((*VISIT_EVENTS, *self.node.event_types, *anchor)))
