"""What a trigger is, and what one finds: the types that batch and live share, and the step they share.

rule (features.rules)  ->  Candidate: customer, item, since  ->  open_trigger: facts of the item now, reason  ->  OpenTrigger
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from features.errors import ConfigError
from features.rules.comparisons import value_passes
from features.rules.conditions import DAY_US, EventTest, FieldTest, OpenTest, Rule, columns_of, leaves
from features.rules.known_fields import Nature
from features.rules.library import LIBRARY_FILE
from features.rules.parse import Columns, RuleParser
from features.rules.place import Place, choice, mapping, only, read_yaml, text
from features.triggers.cycles import NO_GAPS, OwnGaps, own_cycle

Per = Literal["item", "customer"]
LIBRARY: Final = Path(__file__).parent / LIBRARY_FILE
FACT_FIELDS: Final[dict[str, Nature]] = {
    "price": "money", "price_drop": "number", "stock": "number", "due_in_days": "number", "cycle_days": "number",
}  # fmt: skip
_KEYS: Final = ("per", "item", "reason", "priority")
_DEFAULTS: Final = {"lead_days": "3"}
logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """A reason to write.

    Args:
        rule: whom it holds for.
        per: whether the rule is of a customer or of each item that a customer met.
        item: what must be known of the item now; of ``FACT_FIELDS``.
        reason: a sentence with ``{item}``, ``{days}`` (since the event it is about), ``{stock}``, ``{drop}``,
            ``{cycle}``, ``{points}``.
        priority: the highest goes first where messages are capped.
    """

    rule: Rule
    per: Per = "customer"
    item: tuple[FieldTest, ...] = ()
    reason: str = ""
    priority: int = 0

    @property
    def events(self) -> EventTest | OpenTest | None:
        """The first condition on events: what the trigger is about."""
        return next((leaf for leaf in leaves(self.rule.when) if isinstance(leaf, EventTest | OpenTest)), None)

    @property
    def asks_for_cycle(self) -> bool:
        """Whether the customer's own cycle of the item makes a difference to it."""
        asked = "{cycle" in self.reason or any(test.field in ("due_in_days", "cycle_days") for test in self.item)
        return self.per == "item" and asked


@dataclass(frozen=True, kw_only=True)
class ItemFacts:
    """What is known of an item now.

    Args:
        item_id: the item.
        title: shown in reasons; the id where empty.
        price: what it costs, minor units.
        stock: units on the shelf.
        cycle_days: days between two purchases of it by one customer: the median.
        own_strength: a customer's own cycle is drawn to it as so many gaps would (``features.triggers.cycles``);
            nothing where the item's counts alone.
    """

    item_id: str
    title: str = ""
    price: float | None = None
    stock: float | None = None
    cycle_days: float | None = None
    own_strength: float | None = None


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """Whom a trigger's rule holds for.

    Args:
        user_id: the customer.
        item_id: the item, or the last one of what the trigger is about.
        start_us, end_us: since and until when the rule holds.
        met_us: instant of the last event that the trigger is about.
        met_price: what the item cost then, minor units.
        points: of the customer table's ``loyalty_points_missing``.
        own: the customer's gaps between purchases of the item, where the trigger asks for a cycle.
    """

    user_id: str
    item_id: str | None
    start_us: int
    end_us: int
    met_us: int | None = None
    met_price: float | None = None
    points: float | None = None
    own: OwnGaps = NO_GAPS


@dataclass(frozen=True, kw_only=True)
class OpenTrigger:
    """A trigger that is open for a customer.

    Args:
        user_id, trigger, item_id, reason, priority: who, which, about what, and why.
        due_us: from when on a message is due, UTC microseconds.
        until_us: until when it stays open without further events.
        version: of the trigger's rule.
        per: whether it is of the customer or of the item.
        known: what the trigger asked of the item, and what it is: field and value.
    """

    user_id: str
    trigger: str
    item_id: str | None
    reason: str
    priority: int
    due_us: int
    until_us: int
    version: str
    per: Per = "customer"
    known: tuple[tuple[str, float], ...] = ()


def read_triggers(
    path: Path = LIBRARY, *, minor_units: int, columns: Columns | None, parameters: Mapping[str, str] | None = None
) -> tuple[Trigger, ...]:
    """Read the triggers of a YAML file.

    Args:
        path: the ready ones where left out, of which those are left out that name a column the table lacks.
        minor_units: of the shop's currency.
        columns: of the customer table at hand; nothing leaves them unchecked.
        parameters: such as ``lead_days``, 3 where left out.

    Raises:
        ConfigError: the file is not as it should be.
    """
    place = Place(file=str(path))
    values = mapping(read_yaml(path), place)
    only(values, ("triggers",), place)
    listed = mapping(values.get("triggers", {}), place.at("triggers"))
    is_ready = Path(path) == LIBRARY
    known = None if is_ready else columns
    parser = RuleParser(minor_units=minor_units, columns=known, parameters={**_DEFAULTS, **(parameters or {})})
    found = [_trigger(parser, str(name), one, place) for name, one in listed.items()]
    if columns is None:
        return tuple(found)
    kept = [one for one in found if all(name in columns for name in columns_of(one.rule.when))]
    for one in found:
        if one not in kept:
            logger.info("triggers: %s left out, the customer table has none of its columns", one.rule.name)
    return tuple(kept)


def _trigger(parser: RuleParser, name: str, values: Any, place: Place) -> Trigger:
    rule = parser.rule(name, values, place, more_keys=_KEYS)
    place = Place(file=place.file, rule=name)
    per = choice(values.get("per", "customer"), ("item", "customer"), place.at("per"))
    priority = values.get("priority", 0)
    if not isinstance(priority, int):
        raise place.at("priority").error("a whole number", priority)
    item = parser.fields(values.get("item") or {}, FACT_FIELDS, place.at("item"))
    reason = text(values.get("reason", ""), place.at("reason"))
    try:
        reason.format(**_words(Candidate(user_id="", item_id="", start_us=0, end_us=0), None, 0))
    except (KeyError, IndexError, ValueError) as error:
        raise ConfigError(
            f"{place.file}: rule {name!r}, reason: expected only {{item}}, {{days}}, {{stock}}, {{drop}}, {{cycle}} and "
            f"{{points}} in braces, found {error}."
        ) from None
    return Trigger(rule=rule, per=per, item=item, reason=reason, priority=priority)


def open_trigger(
    trigger: Trigger, candidate: Candidate, facts: ItemFacts | None, *, as_of_us: int
) -> OpenTrigger | None:
    """Return what a trigger says of a candidate, or nothing where the item is not as it asks.

    Args:
        trigger: whose rule holds for the candidate.
        candidate: customer and item.
        facts: of the item now; nothing where it is not known.
        as_of_us: now, UTC microseconds.
    """
    values = _values(candidate, facts, as_of_us)
    if not all(value_passes(values[f.field], test, FACT_FIELDS[f.field]) for f in trigger.item for test in f.tests):
        return None
    return OpenTrigger(
        user_id=candidate.user_id,
        trigger=trigger.rule.name,
        item_id=candidate.item_id,
        reason=trigger.reason.format(**_words(candidate, facts, as_of_us)),
        priority=trigger.priority,
        due_us=candidate.start_us,
        until_us=candidate.end_us,
        version=trigger.rule.version,
        per=trigger.per,
        known=tuple((f.field, values[f.field] or 0.0) for f in trigger.item),
    )


def _values(candidate: Candidate, facts: ItemFacts | None, as_of_us: int) -> dict[str, float | None]:
    """What a trigger may compare; nothing where it is not known."""
    known = dataclasses.asdict(facts) if facts else {}
    price = known.get("price")
    cycle = own_cycle(known.get("cycle_days"), known.get("own_strength"), candidate.own)
    cycle = None if cycle is None else round(cycle, 9)
    drop = None
    if price is not None and candidate.met_price:
        drop = round(1 - price / candidate.met_price, 9)
    due = None
    if cycle is not None and candidate.met_us is not None:
        due = round((candidate.met_us - as_of_us) / DAY_US + cycle, 9)
    return {"price": price, "price_drop": drop, "stock": known.get("stock"), "due_in_days": due, "cycle_days": cycle}


def _words(candidate: Candidate, facts: ItemFacts | None, as_of_us: int) -> dict[str, Any]:
    values = _values(candidate, facts, as_of_us)
    title = facts.title if facts and facts.title else candidate.item_id or "an item"
    return {
        "item": title,
        "days": 0 if candidate.met_us is None else (as_of_us - candidate.met_us) // DAY_US,
        "stock": _whole(values["stock"]),
        "drop": "" if values["price_drop"] is None else f"{values['price_drop']:.0%}",
        "cycle": _whole(values["cycle_days"]),
        "points": _whole(candidate.points),
    }


def _whole(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"
