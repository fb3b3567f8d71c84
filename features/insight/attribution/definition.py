"""What is attributed: whose touches count, towards which event, and how far back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

from features import columns as c
from features.errors import ConfigError
from features.insight.definitions import check_choice, check_event_types, check_whole, parsed
from features.tables.visits import VISIT_EVENTS

DIRECT: Final = "direct"
TOUCH_COLUMNS: Final = (c.CHANNEL, "source", "medium", "campaign", c.CAMPAIGN_ID, "term", "content")
Model = Literal[
    "first", "last", "last_non_direct", "linear", "position", "time_decay", "markov", "shapley"
]  # in the order of tables
MODELS: Final[tuple[Model, ...]] = get_args(Model)
Coalitions = Literal["rate", "conversions"]
COALITIONS: Final[tuple[Coalitions, ...]] = get_args(Coalitions)


@dataclass(frozen=True, kw_only=True)
class AttributionDefinition:
    """Which touches count towards which conversion.

    Args:
        touch: the column of the log that names a touch, such as ``channel`` or ``campaign_id``.
        conversion: the event that is worth a journey; rows of one order are one conversion.
        lookback_days: touches this long before a conversion, or shorter, may have a part in it.
        half_life_days: time decay: a touch so long before the conversion counts half of one just before it.
        gap_minutes: a longer pause than this begins a new session where events have no ``session_id``.
        direct: values of the column that say no more than a blank one: the customer came by itself.
        touch_events: what a customer does that shows how it came; messages that are only sent are no touch.
        models: those that are asked for.
        markov_order: how many touches back the chain remembers.
        coalitions: what Shapley asks of a set of touches, see ``shapley``.

    Raises:
        ConfigError: a value does not fit.
    """

    touch: str = c.CHANNEL
    conversion: str = c.PURCHASE
    lookback_days: int = 30
    half_life_days: int = 7
    gap_minutes: int = 30
    direct: tuple[str, ...] = (DIRECT,)
    touch_events: tuple[str, ...] = (*VISIT_EVENTS, "message_clicked")
    models: tuple[str, ...] = MODELS
    markov_order: int = 1
    coalitions: Coalitions = "rate"

    @classmethod
    def parse(cls, mapping: object, *, where: str) -> AttributionDefinition:
        """Return what a YAML mapping says; see ``features.insight.definitions.parsed``.

        Raises:
            ConfigError: a name is unknown, or a value does not fit.
        """
        return parsed(cls, mapping, where=where)

    def __post_init__(self) -> None:
        check_choice("touch", self.touch, TOUCH_COLUMNS)
        check_choice("conversion", self.conversion, c.EVENT_TYPES)
        check_choice("coalitions", self.coalitions, COALITIONS)
        check_whole("lookback_days", self.lookback_days, least=1, most=365)
        check_whole("half_life_days", self.half_life_days, least=1, most=365)
        check_whole("gap_minutes", self.gap_minutes, least=1)
        check_whole("markov_order", self.markov_order, least=1, most=4)
        check_event_types("touch_events", self.touch_events)
        if not self.touch_events:
            raise ConfigError("touch_events: expected one event type or more, found none.")
        self._check_names()

    def _check_names(self) -> None:
        if not isinstance(self.models, tuple) or not self.models or len(set(self.models)) < len(self.models):
            raise ConfigError(f"models: expected some of {', '.join(MODELS)}, each once, found {self.models!r}.")
        for model in self.models:
            check_choice("models", model, MODELS)
        if not isinstance(self.direct, tuple) or not all(isinstance(name, str) for name in self.direct):
            raise ConfigError(f"direct: expected a list of texts, found {self.direct!r}.")
        braced = [name for name in self.direct if "{" in name or "}" in name]
        if braced:
            raise ConfigError(f"direct: expected names without braces, found {braced[0]!r}.")


DEFAULT: Final = AttributionDefinition()
