"""What counts as an answer to a slot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from features.errors import ConfigError
from features.insight.definitions import check_choice, check_whole, parsed

Goal = Literal["clicks", "purchases", "revenue"]
GOALS: Final[tuple[Goal, ...]] = get_args(Goal)
MINUTE_US: Final = 60_000_000
DAY_US: Final = 86_400_000_000


@dataclass(frozen=True, kw_only=True)
class SlotDefinition:
    """What counts as a click and as a purchase, and what an allocation is to raise.

    Args:
        slots: those that are looked at; all that begin with one of these texts, or all there are where empty.
        click_minutes: a view of the item that names the slot, at most so long after it was shown there, is a click.
        unnamed: whether a view that names no slot counts too, for shops whose apps do not tell where a view came from.
        purchase_days: a purchase of the item at most so long after the click came of it.
        goal: what is to be raised: clicks, purchases, or the money of purchases.
        min_shown: items that were shown less often are in no allocation.
    """

    slots: tuple[str, ...] = ()
    click_minutes: int = 30
    unnamed: bool = False
    purchase_days: int = 7
    goal: Goal = "clicks"
    min_shown: int = 50

    def __post_init__(self) -> None:
        if not isinstance(self.slots, tuple) or not all(isinstance(name, str) and name for name in self.slots):
            raise ConfigError(f"slots: expected a list of beginnings of slots' names, found {self.slots!r}.")
        check_whole("click_minutes", self.click_minutes, least=1)
        if not isinstance(self.unnamed, bool):
            raise ConfigError(f"unnamed: expected true or false, found {self.unnamed!r}.")
        check_whole("purchase_days", self.purchase_days, least=1)
        check_whole("min_shown", self.min_shown, least=1)
        check_choice("goal", self.goal, GOALS)

    @classmethod
    def parse(cls, mapping: Any, *, where: str) -> SlotDefinition:
        """Return the definition of a YAML mapping.

        Raises:
            ConfigError: a name is unknown, or a value does not fit.
        """
        return parsed(cls, mapping, where=where)
