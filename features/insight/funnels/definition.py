"""What a funnel asks: its steps, how they follow each other, and within what time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from features import columns as c
from features.errors import ConfigError, did_you_mean
from features.insight.definitions import check_choice, check_whole, parsed
from features.insight.funnels.parse import parse_exclusion, parse_listed, parse_step
from features.insight.funnels.steps import Exclusion, Step, check_days
from features.rules.conditions import DAY_US
from features.rules.known_fields import ITEM_FIELDS
from features.rules.parse import RuleParser
from features.rules.place import Place, mapping

Mode = Literal["ordered", "strict", "any"]
MODES: Final[tuple[Mode, ...]] = get_args(Mode)
Unit = Literal["user", "session", "user_item"]
UNITS: Final[tuple[Unit, ...]] = get_args(Unit)
VISIT_ID: Final = "visit_id"
UNIT_KEYS: Final[dict[Unit, tuple[str, ...]]] = {
    "user": (c.USER_ID,),
    "session": (c.USER_ID, VISIT_ID),
    "user_item": (c.USER_ID, c.ITEM_ID),
}
# What the shop does: between two steps that must follow each other at once, it is nothing that the customer did.
SHOP_EVENTS: Final = (c.IMPRESSION, *(name for name in c.EVENT_TYPES if name.startswith("message_")))
MOST_STEPS: Final = 12  # the queries grow with the square of it


@dataclass(frozen=True, kw_only=True)
class FunnelDefinition:
    """A funnel: two steps or more, and how they follow each other.

    Args:
        steps: in order; the first and the last are not optional.
        mode: ``ordered``: anything may come in between; ``strict``: nothing that the customer does may (what the shop
            does, such as an impression or a message, may unless it is a step); ``any``: the steps in any order.
        window_days: at most so long from the first event of an attempt to its last; may be a fraction.
        unit: whose steps they are: ``user``, ``session`` (a visit of a customer), ``user_item`` (a customer and one
            item; all steps are about that item).
        exclusions: only where ``mode`` is ordered, as are optional steps.
        gap_minutes: a longer pause ends a visit that has no ``session_id``.

    Raises:
        ConfigError: a value does not fit.
    """

    steps: tuple[Step, ...]
    mode: Mode = "ordered"
    window_days: float = 14.0
    unit: Unit = "user"
    exclusions: tuple[Exclusion, ...] = ()
    gap_minutes: int = 30

    def __post_init__(self) -> None:
        check_choice("mode", self.mode, MODES)
        check_choice("unit", self.unit, UNITS)
        check_whole("gap_minutes", self.gap_minutes, least=1)
        check_days("window_days", self.window_days)
        self._check_steps()
        self._check_mode()
        for exclusion in self.exclusions:
            self._check_exclusion(exclusion)

    @classmethod
    def parse(cls, values: object, *, where: str, minor_units: int = 100) -> FunnelDefinition:
        """Return a funnel from what YAML gave; ``features.insight.funnels.parse`` shows an example.

        Args:
            values: a mapping of the fields of this class.
            where: such as ``funnels.checkout``, for errors.
            minor_units: minor units in one major unit of the shop's currency: files say money in major ones.

        Raises:
            ConfigError: something is not as a funnel has it; it says where.
        """
        place, parser = Place(file=where), RuleParser(minor_units=minor_units)
        keys: dict[str, Any] = dict(mapping(values, place))
        for name, read in (("steps", parse_step), ("exclusions", parse_exclusion)):
            if name in keys:
                keys[name] = parse_listed(keys[name], place.at(name), parser, read)
        return parsed(cls, keys, where=where)

    @property
    def keys(self) -> tuple[str, ...]:
        """Columns that name a unit."""
        return UNIT_KEYS[self.unit]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the steps."""
        return tuple(step.name for step in self.steps)

    @property
    def window_us(self) -> int:
        """The conversion window, microseconds."""
        return round(self.window_days * DAY_US)

    @property
    def required(self) -> tuple[int, ...]:
        """Positions of the steps that are not optional, from 0."""
        return tuple(index for index, step in enumerate(self.steps) if not step.optional)

    @property
    def base(self) -> tuple[int, ...]:
        """For each step the position of the required step before it, from which its rate is taken; 0 for the first."""
        return tuple(max((at for at in self.required if at < index), default=0) for index in range(len(self.steps)))

    @property
    def is_plain(self) -> bool:
        """Whether steps follow each other within one window and no more is asked."""
        return not self.exclusions and all(not step.optional and step.within_days is None for step in self.steps)

    @property
    def event_types(self) -> tuple[str, ...]:
        """Types of all events that steps and exclusions name."""
        return tuple(dict.fromkeys(name for one in self._named for name in one.events))

    @property
    def fields(self) -> tuple[str, ...]:
        """Fields of events and items that conditions name."""
        return tuple(dict.fromkeys(test.field for one in self._named for test in one.where))

    @property
    def item_fields(self) -> tuple[str, ...]:
        """Fields of items that conditions name: they need the items table."""
        return tuple(name for name in self.fields if name in ITEM_FIELDS)

    def position(self, name: str, *, place: str) -> int:
        """Return the position of a step, from 0.

        Raises:
            ConfigError: there is none of this name.
        """
        if name not in self.names:
            hint = did_you_mean(str(name), self.names)
            raise ConfigError(f"{place}: expected a step ({', '.join(self.names)}), found {name!r}.{hint}")
        return self.names.index(name)

    def span(self, exclusion: Exclusion) -> tuple[int, int]:
        """Return the positions of the steps between which an exclusion ends an attempt."""
        after = 0 if exclusion.after is None else self.position(exclusion.after, place="exclusions.after")
        last = len(self.steps) - 1
        return after, last if exclusion.before is None else self.position(exclusion.before, place="exclusions.before")

    @property
    def _named(self) -> tuple[Step | Exclusion, ...]:
        return (*self.steps, *self.exclusions)

    def _check_steps(self) -> None:
        if not isinstance(self.steps, tuple) or not 2 <= len(self.steps) <= MOST_STEPS:
            found = len(self.steps) if isinstance(self.steps, tuple) else repr(self.steps)
            raise ConfigError(f"steps: expected 2 to {MOST_STEPS} of them, found {found}.")
        for name in self.names:
            if self.names.count(name) > 1:
                raise ConfigError(
                    f"steps: expected each name once, found {name!r} twice. Give steps names of their own."
                )
        for step in self.steps:
            if step.within_days is not None and step.within_days > self.window_days:
                raise ConfigError(
                    f"steps.{step.name}.within_days: expected at most the whole window of {self.window_days:g} days, "
                    f"found {step.within_days:g}. Shorten it or lengthen window_days."
                )
        if self.steps[0].optional or self.steps[-1].optional:
            raise ConfigError(
                "steps: expected the first and the last not to be optional, found one that is. "
                "An attempt begins with the first and converts with the last."
            )
        if self.steps[0].within_days is not None:
            raise ConfigError("steps: expected no within_days of the first, which no step precedes, found one.")

    def _check_mode(self) -> None:
        if self.mode != "ordered" and (self.exclusions or any(step.optional for step in self.steps)):
            raise ConfigError(f"mode: expected ordered, as steps are optional or events excluded, found {self.mode!r}.")
        if self.mode == "any" and any(step.within_days is not None for step in self.steps):
            raise ConfigError("mode: expected ordered or strict, as a step has within_days, found 'any'.")

    def _check_exclusion(self, exclusion: Exclusion) -> None:
        after, before = self.span(exclusion)
        if after >= before:
            raise ConfigError(
                f"exclusions: expected 'after' to be an earlier step than 'before', found {self.names[after]!r} "
                f"and {self.names[before]!r}."
            )
        for position in (after, before):
            if self.steps[position].optional:
                raise ConfigError(
                    f"exclusions: expected 'after' and 'before' to be steps that are not optional, "
                    f"found {self.names[position]!r}."
                )
        for step in self.steps:
            shared = [name for name in exclusion.events if name in step.events]
            if shared and (not exclusion.where or exclusion.where == step.where):
                raise ConfigError(
                    f"exclusions: expected events that are no step, found {shared[0]!r}, which step {step.name!r} is. "
                    "Exclude another event, or give it a condition of its own."
                )


def covers(definition: FunnelDefinition, exclusion: Exclusion, *, frm: int, to: int) -> bool:
    """Whether an exclusion ends attempts that are on the way from one step to another, by position."""
    after, before = definition.span(exclusion)
    return after <= frm and to <= before
