"""What the outbox's file holds of a customer, whether or not webhooks are sent today: for access and for erasure."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

import msgspec

from serving.history.stored import to_instant
from serving.outbox.marks import Marks
from serving.outbox.messages import Messages
from serving.outbox.tables import outbox_file

_OF: Final = "IN (SELECT value FROM json_each(?))"


class HeldMessages:
    """The file, which need not exist, and is not made here.

    Args:
        path: where the outbox keeps its messages.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)

    def of(self, ids: Collection[str]) -> list[dict[str, Any]]:
        """Return messages about some ids, and when each is looked at next.

        Raises:
            LiveStateError: the file cannot be read.
        """
        if not (ids and self.path.is_file()):
            return []
        wanted = (json.dumps(list(ids)),)
        file = outbox_file(self.path)
        try:
            with file.reading() as connection:
                marks = connection.execute(
                    f"SELECT user_id, at_us FROM marks WHERE user_id {_OF} ORDER BY at_us", wanted
                )
                looks = [{"user_id": user_id, "look_at": to_instant(at_us)} for user_id, at_us in marks]
                messages = connection.execute(
                    f"SELECT subject, endpoint, state, created_us, body FROM messages WHERE subject {_OF} ORDER BY seq",
                    wanted,
                )
                return [_message(*row) for row in messages] + looks
        finally:
            file.close()

    def erase(self, ids: Collection[str]) -> int:
        """Drop all that is about some ids, overwritten on disk; return how many messages that were.

        Raises:
            LiveStateError: the file cannot be written.
        """
        if not (ids and self.path.is_file()):
            return 0
        Marks(self.path).withdraw(ids.__contains__)
        messages = Messages(self.path)
        try:
            return messages.withdraw(ids.__contains__)
        finally:
            messages.close()


def _message(user_id: str, endpoint: str, state: str, created_us: int, body: bytes) -> dict[str, Any]:
    return {
        "user_id": user_id,
        "endpoint": endpoint,
        "state": state,
        "added_at": to_instant(created_us),
        "content": msgspec.json.decode(body),
    }
