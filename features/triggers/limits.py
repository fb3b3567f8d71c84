"""What holds a message back: sent already, too many lately, unsubscribed, the night. Applied last, and said in a column.

3 open triggers, 1 sent yesterday, 2 a week allowed   ->   the one of highest priority goes, two are held back
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

import pandas as pd

from features import columns as c
from features.errors import ConfigError
from features.rules.conditions import DAY_US
from features.rules.rows import EPOCH, instant_us
from features.rules.spells import FOREVER
from features.triggers.batch import in_order
from features.triggers.sent import Sent
from features.triggers.trigger import OpenTrigger

MESSAGE_COLUMNS: Final = (
    c.USER_ID, "trigger", c.ITEM_ID, "reason", "priority", "due_at", "until", "best_hour", "send_at", "held_back", "held_by",
    "version",
)  # fmt: skip
_HOURS: Final = 24
HOURS: Final = ("best_hour", "quiet_from", "quiet_until")  # of the customer table
When = Literal["best_hour", "now"]
HELD_BY: Final = ("unsubscribed", "sent", "cap", "quiet_hours")
Held = tuple[str, str]  # one of HELD_BY, and the sentence
_GOES: Final = ("", "")


@dataclass(frozen=True, kw_only=True)
class Cap:
    """At most so many messages in a window.

    Args:
        messages: sent ones and those that would be.
        window_days: how far back sent ones count.
        medium: ``push``, ``email``, ``sms`` or ``in_app``; all together where empty.
    """

    messages: int
    window_days: float
    medium: str = ""

    def __post_init__(self) -> None:
        if self.messages < 0 or self.window_days <= 0:
            raise ConfigError(f"cap: expected messages of 0 or more and window_days above 0, found {self}.")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When not to write.

    Args:
        caps: all of them hold.
        quiet_from, quiet_until: local hours, the first quiet one and the first after; a customer's own
            (``quiet_from``, ``quiet_until`` of the customer table) are quiet too. Equal ones mean none.
        best_hour: local hour for a customer without one of its own.
        medium: the medium that is written by.
        again_days: after so many days a message may be sent again about what rests on the customer table alone, of
            which nobody knows since when it holds. What rests on events is written about once: again only when it
            became true anew.
    """

    caps: tuple[Cap, ...] = (Cap(messages=1, window_days=1.0), Cap(messages=3, window_days=7.0))
    quiet_from: int = 21
    quiet_until: int = 8
    best_hour: int = 10
    medium: str = "push"
    again_days: float = 30.0

    def __post_init__(self) -> None:
        for name in HOURS:
            if not 0 <= getattr(self, name) < _HOURS:
                raise ConfigError(f"{name}: expected a local hour from 0 to 23, found {getattr(self, name)!r}.")
        if self.again_days < 0:
            raise ConfigError(f"again_days: expected 0 or more, found {self.again_days!r}.")


DEFAULT_LIMITS: Final = Limits()


def planned(
    found: Sequence[OpenTrigger],
    *,
    as_of_us: int,
    zone: ZoneInfo,
    sent: Mapping[str, Sent],
    profiles: Mapping[str, Mapping[str, Any]],
    limits: Limits = DEFAULT_LIMITS,
    when: When = "best_hour",
    write_us: int | None = None,
) -> pd.DataFrame:
    """Return one row a trigger: when it goes, or what holds it back.

    Args:
        found: open triggers.
        as_of_us: the instant that the triggers are of, UTC microseconds.
        zone: the shop's.
        sent: by customer.
        profiles: best_hour, quiet_from and quiet_until by customer, where known.
        limits: caps and quiet hours.
        when: ``best_hour`` plans for the next best hour outside quiet ones; ``now`` holds back in quiet hours.
        write_us: from when on messages can be written; ``as_of_us`` where left out.

    Returns:
        MESSAGE_COLUMNS; held_back is blank where the message may go, else a sentence, and held_by a word for it
        (``HELD_BY``). due_at, until and send_at are UTC.
    """
    write_us = as_of_us if write_us is None else write_us
    rows, going = [], dict.fromkeys((one.user_id for one in found), 0)
    for one in in_order(found):
        profile = {name: value for name, value in profiles.get(one.user_id, {}).items() if not pd.isna(value)}
        hour = int(profile.get("best_hour", limits.best_hour))
        send_at, held = _moment(write_us, zone, hour, limits=limits, profile=profile, when=when)
        of_user = sent.get(one.user_id, Sent())
        by, reason = (
            _unwanted(of_user, one, as_of_us, limits)
            or _over_cap(of_user, going[one.user_id], instant_us(send_at), limits)
            or held
        )
        going[one.user_id] += not by
        rows.append(
            (one.user_id, one.trigger, one.item_id, one.reason, one.priority, _instant(one.due_us),
             _instant(one.until_us), hour, None if by else send_at.astimezone(dt.UTC), reason, by, one.version)
        )  # fmt: skip
    frame = pd.DataFrame(rows, columns=list(MESSAGE_COLUMNS))
    instants = dict.fromkeys(("due_at", "until", "send_at"), "datetime64[us, UTC]")
    return frame.astype(instants)


def is_quiet(hour: int, quiet_from: int, quiet_until: int) -> bool:
    """Return whether a local hour lies in a stretch that may pass midnight.

    >>> [is_quiet(hour, 21, 8) for hour in (20, 21, 7, 8)]
    [False, True, True, False]
    """
    return (hour - quiet_from) % _HOURS < (quiet_until - quiet_from) % _HOURS


def _moment(
    write_us: int, zone: ZoneInfo, hour: int, *, limits: Limits, profile: Mapping[str, Any], when: When
) -> tuple[dt.datetime, Held]:
    """When it would go, and what the hour has against it."""
    now = (EPOCH + dt.timedelta(microseconds=write_us)).astimezone(zone)
    if when == "now":
        quiet = _quiet(now.hour, limits, profile)
        return now, ("quiet_hours", f"quiet hours at {now.hour}:00 local") if quiet else _GOES
    loud = [h for h in ((hour + step) % _HOURS for step in range(_HOURS)) if not _quiet(h, limits, profile)]
    if not loud:
        return now, ("quiet_hours", "quiet hours all day")
    planned_at = now.replace(hour=loud[0], minute=0, second=0, microsecond=0, fold=0)
    tomorrow = (now + dt.timedelta(days=1)).replace(hour=loud[0], minute=0, second=0, microsecond=0, fold=0)
    return (planned_at if planned_at >= now else tomorrow), _GOES


def _quiet(hour: int, limits: Limits, profile: Mapping[str, Any]) -> bool:
    own = "quiet_from" in profile and "quiet_until" in profile
    return is_quiet(hour, limits.quiet_from, limits.quiet_until) or (
        own and is_quiet(hour, int(profile["quiet_from"]), int(profile["quiet_until"]))
    )


def _unwanted(sent: Sent, one: OpenTrigger, as_of_us: int, limits: Limits) -> Held | None:
    """Why nobody should write about this to this customer at all."""
    if limits.medium in sent.unsubscribed or "" in sent.unsubscribed:
        return "unsubscribed", f"unsubscribed from {limits.medium}"
    last = sent.last_about(one.trigger, one.item_id if one.per == "item" else None)
    since = one.due_us if one.due_us < as_of_us else as_of_us - limits.again_days * DAY_US
    if last is not None and last >= since:
        return "sent", f"sent already on {EPOCH + dt.timedelta(microseconds=last):%Y-%m-%d}"
    return None


def _over_cap(sent: Sent, num_going: int, send_us: int, limits: Limits) -> Held | None:
    for cap in limits.caps:
        if cap.medium not in ("", limits.medium):
            continue
        # An earlier plan may hold a message for later than this one.
        near = sum(
            abs(send_us - at) < cap.window_days * DAY_US and cap.medium in ("", medium) for at, medium in sent.messages
        )
        if near + num_going >= cap.messages:
            of = f" by {cap.medium}" if cap.medium else ""
            ahead = f" and {num_going} of higher priority" if num_going else ""
            return "cap", f"cap of {cap.messages} messages{of} in {cap.window_days:g} days: {near} sent{ahead}"
    return None


def _instant(at_us: int) -> dt.datetime | None:
    return None if at_us >= FOREVER else EPOCH + dt.timedelta(microseconds=at_us)
