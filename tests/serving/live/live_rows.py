"""Events of live state, made up, and how they are judged and read back."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from serving.live.store import LiveEvent, LiveRow, LiveStore, Verdict

NOW_US = 1_800_000_000_000_000
DAY_US = 86_400_000_000
Open = Callable[..., LiveStore]


def row(number: int, *, user: str = "u", ts: int = 0, event_id: str = "", kind: str = "view") -> LiveEvent:
    """An event ``ts`` microseconds before the present's day began, so that greater is later."""
    return LiveEvent(event_id or f"e{number}", user, NOW_US - DAY_US + (ts or number), kind, f"item-{number}")


def keep(events: Sequence[LiveEvent]) -> list[Verdict]:
    return ["kept"] * len(events)


def without(*users: str) -> Callable[[Sequence[LiveEvent]], list[Verdict]]:
    return lambda events: ["refused" if event.user_id in users else "kept" for event in events]


def events_of(live: LiveStore, user: str = "u") -> Sequence[LiveRow]:
    found = live.read([user]).get(user)
    return [] if found is None else found.events


def items_of(live: LiveStore, user: str = "u") -> list[str | None]:
    return [item for _, _, item in events_of(live, user)]
