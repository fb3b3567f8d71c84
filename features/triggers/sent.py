"""What customers were sent already: by the log's messages, and by the files of messages that were planned before.

A message of the log is about a trigger where its ``campaign`` is the trigger's name, and about an item where it has
one. What stands both in a file and in the log counts once: the two are paired off by customer and local day.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import pandas as pd

from features import columns as c
from features.errors import DataError
from features.rules.rows import EPOCH, instant_us
from features.rules.session import RuleSession

SENT_COLUMNS: Final = ("trigger", "send_at")
SUFFIXES: Final = (".parquet", ".csv")
About = tuple[str, str | None]  # trigger, item
Row = tuple[str, int, str, str, str | None]  # event_type, at_us, medium, campaign, item_id
logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What one customer was sent, and whether it wants none.

    Args:
        messages: instant (UTC microseconds) and medium of each ``message_sent``.
        unsubscribed: media that were unsubscribed from; an empty one stands for all.
        about: instant of the latest message about a trigger, and about an item where that is known.
    """

    messages: Sequence[tuple[int, str]] = ()
    unsubscribed: frozenset[str] = frozenset()
    about: Mapping[About, int] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Iterable[Row]) -> Sent:
        """Return what a customer's ``message_sent`` and ``message_unsubscribed`` events say; others are passed over."""
        messages, gone, about = [], set(), dict[About, int]()
        for kind, at_us, medium, campaign, item in rows:
            if kind == "message_unsubscribed":
                gone.add(medium)
            elif kind == "message_sent":
                messages.append((at_us, medium))
                if campaign:
                    about[campaign, item] = max(at_us, about.get((campaign, item), at_us))
        return cls(messages=messages, unsubscribed=frozenset(gone), about=about)

    def last_about(self, trigger: str, item: str | None) -> int | None:
        """Return when a message was last sent about a trigger; of an item's only where ``item`` is one.

        A message that names no item may have been about any.
        """
        told = [at for (name, of), at in self.about.items() if name == trigger and (item is None or of in (item, None))]
        return max(told, default=None)

    def with_planned(self, planned: Sequence[Row], zone: ZoneInfo) -> Sent:
        """Return the same with messages of earlier plans, those that the log holds too counted once."""
        known = Counter(_day(at_us, zone) for at_us, _ in self.messages)
        more = []
        for row in sorted(planned, key=lambda row: row[1]):
            day = _day(row[1], zone)
            known[day] -= 1
            if known[day] < 0:
                more.append((row[1], row[2]))
        about = Sent.of(planned).about
        joined = {key: max(one.get(key, 0) for one in (self.about, about)) for key in {*self.about, *about}}
        return Sent(messages=[*self.messages, *more], unsubscribed=self.unsubscribed, about=joined)


def sent_messages(session: RuleSession) -> dict[str, Sent]:
    """Return what each customer was sent up to the session's instant, as its log tells."""
    rows = session.connection.sql(
        "SELECT user_id, event_type, at_us, coalesce(medium, ''), coalesce(campaign, ''), item_id FROM rule_rows "
        "WHERE event_type IN ('message_sent', 'message_unsubscribed') ORDER BY ALL"
    ).fetchall()
    found: dict[str, list[Row]] = {}
    for user, *row in rows:
        found.setdefault(user, []).append(tuple(row))
    return {user: Sent.of(own) for user, own in found.items()}


def read_planned(path: Path, *, but: Path | None = None) -> pd.DataFrame:
    """Return the messages of an earlier plan, or of all plans in a directory.

    Args:
        path: Parquet or CSV file that ``footfall triggers`` wrote, or a directory of such files.
        but: a file that is about to be written; what stands there now is not read. On the first morning its directory
            need not be there.

    Returns:
        user_id or pseudonym, trigger, item_id, send_at, medium; what a file does not say is missing.

    Raises:
        DataError: there is no such file, or it holds something else.
    """
    files = [one for one in _files(path, but) if but is None or one.resolve() != but.resolve()]
    frames = [_read(one) for one in files]
    names = (c.USER_ID, "pseudonym", "trigger", c.ITEM_ID, "send_at", "medium")
    joined = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
    logger.info("sent: %d messages in %d files of earlier plans", len(joined), len(files))
    return joined.reindex(columns=list(names))


def rows_of_plan(planned: pd.DataFrame, medium: str) -> dict[str, list[Row]]:
    """Return the messages of earlier plans by user.

    Args:
        planned: from ``read_planned``, with user ids.
        medium: of rows that name none.
    """
    found: dict[str, list[Row]] = {}
    for one in planned.to_dict("records"):
        item = None if pd.isna(one[c.ITEM_ID]) else str(one[c.ITEM_ID])
        by = medium if pd.isna(one["medium"]) else str(one["medium"])
        row: Row = ("message_sent", instant_us(one["send_at"]), by, str(one["trigger"]), item)
        found.setdefault(str(one[c.USER_ID]), []).append(row)
    return found


def _files(path: Path, but: Path | None) -> list[Path]:
    if path.is_dir():
        return sorted(one for one in path.iterdir() if one.suffix in SUFFIXES)
    is_to_come = but is not None and not path.exists() and path.resolve() == but.resolve().parent
    return [] if is_to_come else [path]


def _read(path: Path) -> pd.DataFrame:
    try:
        known: Any = {c.USER_ID: str, "pseudonym": str, c.ITEM_ID: str, "trigger": str, "medium": str}
        frame = pd.read_csv(path, dtype=known) if path.suffix == ".csv" else pd.read_parquet(path)
        frame = frame.assign(send_at=pd.to_datetime(frame["send_at"], utc=True, format="ISO8601"))
    except (OSError, KeyError, ValueError) as error:
        raise DataError(
            f"{path}: expected messages that `footfall triggers` planned, found something else ({error})."
        ) from None
    if not {c.USER_ID, "pseudonym"} & set(frame) or not set(SENT_COLUMNS) <= set(frame):
        raise DataError(
            f"{path}: expected columns user_id (or pseudonym), trigger and send_at, found {', '.join(map(str, frame))}."
        )
    return frame[frame["send_at"].notna()]


def _day(at_us: int, zone: ZoneInfo) -> dt.date:
    return (EPOCH + dt.timedelta(microseconds=at_us)).astimezone(zone).date()
