"""Messages on their way out, in a SQLite file: added once each, and kept until they were taken, given up or withdrawn.

pending -> delivered      taken (2xx); body and customer are blanked, the id stays so that it is not sent again
-> dead           failed too often, or the receiver said that it is gone; `retry` makes it pending again
-> dropped        the customer was erased or withdrew consent; blanked
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from serving.outbox.tables import outbox_file

State = Literal["pending", "delivered", "dead", "dropped"]
DAY_US: Final = 86_400_000_000
# A pause is shorter than this: an instant further ahead was written before the clock was set back.
LONGEST_PAUSE_US: Final = 2 * DAY_US
_KEY: Final = "key"
_GONE: Final = "gone:{}"
_KEY_BYTES: Final = 32
_ID_DIGITS: Final = 32


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A message before it is kept.

    Args:
        endpoint: who gets it.
        about: what it is about, such as a trigger, a customer and an item; becomes a keyed digest.
        occasion: which time; the same ``about`` and ``occasion`` is one message. Blank where nobody knows since when it
            holds: then it is one message in ``again_us``.
        body: as it is sent.
        subject: the customer, whose erasure withdraws it.
    """

    endpoint: str
    about: tuple[str, ...]
    occasion: str
    body: bytes = field(repr=False)
    subject: str | None = None


@dataclass(frozen=True, kw_only=True)
class Pending:
    """A message that is due."""

    seq: int
    message_id: str
    subject: str | None
    body: bytes = field(repr=False)
    attempts: int


@dataclass(frozen=True, kw_only=True)
class Dead:
    """A message that was given up; nothing of its content."""

    endpoint: str
    message_id: str
    attempts: int
    said: str
    created_us: int


class Messages:
    """The table; safe to use from several threads and processes.

    Args:
        path: SQLite file, created where absent.
    """

    def __init__(self, path: Path) -> None:
        self._file = outbox_file(path)
        self._key = self._secret()

    def add(self, drafts: Sequence[Draft], *, now_us: int, again_us: int) -> int:
        """Keep messages that were not kept before; they are on disk when this returns. Return how many were new."""
        with self._file.writing(durability="power") as connection:
            return sum(self._add(connection, draft, now_us, again_us) for draft in drafts)

    def due(self, endpoint: str, *, now_us: int, limit: int) -> list[Pending]:
        """Return messages to try now, the longest due first, then in the order in which they were added."""
        rows = self._file.reader.execute(
            "SELECT seq, message_id, subject, body, attempts FROM messages WHERE endpoint = ? AND state = 'pending' "
            "AND (next_us <= ? OR next_us > ?) ORDER BY next_us, seq LIMIT ?",
            (endpoint, now_us, now_us + LONGEST_PAUSE_US, limit),
        )
        names = ("seq", "message_id", "subject", "body", "attempts")
        return [Pending(**dict(zip(names, row, strict=True))) for row in rows]

    def finish(self, seq: int, state: Literal["delivered", "dropped"], *, said: str) -> None:
        """Note that a message is done with, and forget its content and whom it is about."""
        with self._file.writing() as connection:
            connection.execute(
                "UPDATE messages SET state = ?, said = ?, attempts = attempts + ?, subject = NULL, body = NULL WHERE seq = ?",
                (state, said, state == "delivered", seq),
            )

    def postpone(self, seq: int, *, next_us: int, said: str) -> None:
        """Note a failed attempt, and when the next is due."""
        with self._file.writing() as connection:
            connection.execute(
                "UPDATE messages SET next_us = ?, said = ?, attempts = attempts + 1 WHERE seq = ?", (next_us, said, seq)
            )

    def give_up(self, seq: int, *, said: str) -> None:
        """Note the last failed attempt."""
        with self._file.writing() as connection:
            connection.execute(
                "UPDATE messages SET state = 'dead', said = ?, attempts = attempts + 1 WHERE seq = ?", (said, seq)
            )

    def give_up_all(self, endpoint: str, *, said: str) -> int:
        """Give up all that is pending for an endpoint; return how many there were."""
        with self._file.writing() as connection:
            return connection.execute(
                "UPDATE messages SET state = 'dead', said = ? WHERE endpoint = ? AND state = 'pending'",
                (said, endpoint),
            ).rowcount

    def retry(self, *, endpoint: str, message_id: str = "", now_us: int) -> int:
        """Make dead messages of an endpoint pending again, with all their attempts before them; return how many."""
        with self._file.writing() as connection:
            return connection.execute(
                "UPDATE messages SET state = 'pending', attempts = 0, next_us = ? "
                "WHERE endpoint = ? AND state = 'dead' AND (? IN ('', message_id))",
                (now_us, endpoint, message_id),
            ).rowcount

    def dead(self) -> list[Dead]:
        """Return what was given up, the oldest first."""
        rows = self._file.reader.execute(
            "SELECT endpoint, message_id, attempts, said, created_us FROM messages WHERE state = 'dead' ORDER BY seq"
        )
        names = ("endpoint", "message_id", "attempts", "said", "created_us")
        return [Dead(**dict(zip(names, row, strict=True))) for row in rows]

    def counts(self) -> dict[str, dict[State, int]]:
        """Return how many messages there are, by endpoint and state."""
        found: dict[str, dict[State, int]] = {}
        query = "SELECT endpoint, state, count(*) FROM messages GROUP BY endpoint, state"
        for endpoint, state, number in self._file.reader.execute(query):
            found.setdefault(endpoint, {})[state] = number
        return found

    def waiting(self, endpoint: str) -> tuple[int, int | None]:
        """Return how many messages of an endpoint are pending, and since when the oldest of them waits."""
        query = "SELECT count(*), min(created_us) FROM messages WHERE endpoint = ? AND state = 'pending'"
        number, oldest_us = self._file.reader.execute(query, (endpoint,)).fetchone()
        return int(number), oldest_us

    def withdraw(self, is_gone: Callable[[str], bool]) -> int:
        """Drop all messages about customers who are gone, overwritten on disk; return how many there were."""
        query = "SELECT DISTINCT subject FROM messages WHERE subject IS NOT NULL"
        gone = [(subject,) for (subject,) in self._file.reader.execute(query).fetchall() if is_gone(subject)]
        if not gone:
            return 0
        with self._file.writing() as connection:
            before = connection.total_changes
            connection.executemany(
                "UPDATE messages SET state = 'dropped', said = 'erased', subject = NULL, body = NULL WHERE subject = ?",
                gone,
            )
            dropped = connection.total_changes - before
        self._file.empty_log()
        return dropped

    def forget_before(self, created_us: int) -> int:
        """Delete what was added before an instant, also what nobody took; return how many rows there were."""
        with self._file.writing() as connection:
            return connection.execute("DELETE FROM messages WHERE created_us < ?", (created_us,)).rowcount

    def is_gone(self, endpoint: str) -> bool:
        """Whether a receiver said that it wants no more, ever."""
        return bool(self.fact(_GONE.format(endpoint)))

    def note_gone(self, endpoint: str, *, gone: bool) -> None:
        """Note that a receiver wants no more, or take that back."""
        self.note(_GONE.format(endpoint), "1" if gone else "")

    def fact(self, name: str) -> str | None:
        """Return what was noted under a name."""
        row = self._file.reader.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def note(self, name: str, value: str) -> None:
        """Note something under a name."""
        with self._file.writing() as connection:
            connection.execute("INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)", (name, value))

    def close(self) -> None:
        """Close this thread's connection."""
        self._file.close()

    def _add(self, connection: sqlite3.Connection, draft: Draft, now_us: int, again_us: int) -> bool:
        about = self._digest(*draft.about)
        if not draft.occasion:
            query = "SELECT 1 FROM messages WHERE endpoint = ? AND about = ? AND created_us > ? LIMIT 1"
            if connection.execute(query, (draft.endpoint, about, now_us - again_us)).fetchone():
                return False
        message_id = "msg_" + self._digest(*draft.about, draft.occasion or f"from {now_us}")
        return bool(
            connection.execute(
                "INSERT INTO messages (endpoint, message_id, about, subject, body, created_us, next_us) "
                "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (draft.endpoint, message_id, about, draft.subject, draft.body, now_us, now_us),
            ).rowcount
        )

    def _digest(self, *words: str) -> str:
        """A name that says nothing to who has not got this file: ids of customers can be guessed."""
        return hmac.new(self._key, "\x1f".join(words).encode(), hashlib.sha256).hexdigest()[:_ID_DIGITS]

    def _secret(self) -> bytes:
        with self._file.writing() as connection:
            fresh = (_KEY, secrets.token_bytes(_KEY_BYTES))
            connection.execute("INSERT OR IGNORE INTO facts (name, value) VALUES (?, ?)", fresh)
            return bytes(connection.execute("SELECT value FROM facts WHERE name = ?", (_KEY,)).fetchone()[0])
