"""What counts as unhealthy; a shop that knows better sets it otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from features.errors import ConfigError
from features.insight.definitions import check_whole, parsed

_LONGEST: Final = 1_000_000  # of any unit here: its microseconds fit into 64 bits


@dataclass(frozen=True, kw_only=True)
class HealthSettings:
    """Limits of the check.

    Args:
        limit_minutes: an event is late that takes longer than this from its time to the table.
        late_share: more late events than this share are a finding.
        null_share: a column may be empty in this share of the events that should have it.
        drop_share: a day with fewer events than this share of what its weekday usually has is a drop.
        weeks: weeks before a day that say what is usual.
        expected_false: drops that chance alone may report.
        repeat_seconds: events of one content that are no further apart are one event sent twice.
        future_minutes: how far an event may lie after the moment its table was written.
        back_seconds: how far a clock may go back between two events of a device or session.
        session_hours: a session id that lasts longer was not renewed.
        examples: how many cases a finding shows.
    """

    limit_minutes: float = 15.0
    late_share: float = 0.01
    null_share: float = 0.05
    drop_share: float = 0.5
    weeks: int = 4
    expected_false: float = 0.05
    repeat_seconds: float = 1.0
    future_minutes: float = 5.0
    back_seconds: float = 60.0
    session_hours: float = 24.0
    examples: int = 5

    def __post_init__(self) -> None:
        for name in ("limit_minutes", "future_minutes", "back_seconds", "session_hours", "repeat_seconds"):
            _within(name, getattr(self, name), most=_LONGEST)
        for name in ("late_share", "null_share", "drop_share", "expected_false"):
            _within(name, getattr(self, name), most=1)
        check_whole("weeks", self.weeks, least=1, most=52)
        check_whole("examples", self.examples, least=0, most=1000)

    @property
    def future_us(self) -> int:
        """``future_minutes`` in microseconds."""
        return int(self.future_minutes * 60_000_000)

    @classmethod
    def parse(cls, mapping: object, *, where: str) -> HealthSettings:
        """Read the limits from a YAML mapping.

        Raises:
            ConfigError: a name is unknown or a value does not fit; the message begins with ``where``.
        """
        return parsed(cls, mapping, where=where)


def _within(name: str, value: object, *, most: int) -> None:
    fits = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most
    if not fits:
        raise ConfigError(f"{name}: expected a number from 0 to {most}, found {value!r}.")
