"""The log in Redis, and of each user which entries are theirs: what concerns one customer looks at no other's.

The scripts keep the two in step; ``PREFIX:users`` may name users of whom all is past its age, until ``users`` looks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from serving.live.redis_link import RedisLink
from serving.live.store import LiveEvent, LoggedEvent

_SCRIPTS: Final = Path(__file__).parent / "redis_scripts"
_PAGE: Final = 1_000
_INDEXED: Final = "indexed"  # in meta, once the sets name what was kept before there were any


class RedisLog:
    """The stream of what was kept, and whose entries are whose.

    Args:
        link: the connection.
        prefix: of the keys.
    """

    def __init__(self, link: RedisLink, prefix: str) -> None:
        self._link = link
        self._prefix = prefix
        self._key = f"{prefix}:log"
        self._forget, self._users = (named_script(link, name) for name in ("forget", "users"))
        self._is_indexed = False

    def page(self, *, after: str, limit: int) -> list[LoggedEvent]:
        """Return entries in order of arrival, from one position on."""
        with self._link.explained():
            rows = self._link.client.xrange(self._key, min=f"({after}" if after else "-", count=limit)
        return [LoggedEvent(position, _event(fields)) for position, fields in rows]

    def of(self, user_ids: Iterable[str]) -> list[LoggedEvent]:
        """Return all entries of some users, in order of arrival."""
        self.prepare()
        with self._link.explained():
            positions = [p for id_ in user_ids for p in self._link.client.smembers(self._of_user(id_))]
            rows = [row for page in _pages(positions) for row in self._at(page)]
        found = [LoggedEvent(position, _event(fields)) for position, fields in rows]
        return sorted(found, key=lambda one: order_of(one.position))

    def users(self) -> list[str]:
        """Return all ids that anything is kept of."""
        self.prepare()
        found: set[str] = set()
        cursor: object = 0
        while True:
            with self._link.explained():
                cursor, users = self._users(args=[self._prefix, cursor, _PAGE])
            found.update(users)
            if not int(str(cursor)):
                return sorted(found)

    def drop(self, user_id: str, positions: Sequence[str]) -> None:
        """Delete some of a user's entries."""
        for page in _pages(positions):
            with self._link.explained(is_write=True), self._link.client.pipeline(transaction=True) as step:
                step.xdel(self._key, *page)
                step.srem(self._of_user(user_id), *page)
                step.execute()

    def forget(self, upto: str) -> None:
        """Drop all entries up to a position."""
        while True:
            with self._link.explained(is_write=True):
                if self._forget(args=[self._prefix, upto, _PAGE]) < _PAGE:
                    return

    def _at(self, positions: Sequence[str]) -> list[Any]:
        with self._link.client.pipeline(transaction=False) as step:
            for position in positions:
                step.xrange(self._key, min=position, max=position)
            return [row for rows in step.execute() for row in rows]

    def _of_user(self, user_id: str) -> str:
        return f"{self._prefix}:logged:{user_id}"

    def prepare(self) -> None:
        """Name, once in the life of a Redis, what was kept before there were such sets."""
        if self._is_indexed:
            return
        meta = f"{self._prefix}:meta"
        with self._link.explained():
            self._is_indexed = bool(self._link.client.hget(meta, _INDEXED))
        if self._is_indexed:
            return
        after = ""
        while page := self.page(after=after, limit=_PAGE):
            self._put([(self._of_user(one.event.user_id), one.position) for one in page])
            self._put([(f"{self._prefix}:users", one.event.user_id) for one in page])
            after = page[-1].position
        for kind in ("events", "consents"):
            start = f"{self._prefix}:{kind}:"
            with self._link.explained():
                users = [key[len(start) :] for key in self._link.client.scan_iter(f"{start}*", count=_PAGE)]
            for some in _pages(users):
                self._put([(f"{self._prefix}:users", user) for user in some])
        with self._link.explained():
            self._link.client.hset(meta, _INDEXED, 1)
        self._is_indexed = True

    def _put(self, members: Iterable[tuple[str, str]]) -> None:
        with self._link.explained(), self._link.client.pipeline(transaction=False) as step:
            for key, member in members:
                step.sadd(key, member)
            step.execute()


def named_script(link: RedisLink, name: str) -> Callable[..., Any]:
    """Return one of the scripts beside this module, to call with ``args``."""
    return link.script((_SCRIPTS / f"{name}.lua").read_text(encoding="utf-8"))


def _pages(rows: Sequence[str]) -> Iterator[Sequence[str]]:
    return (rows[start : start + _PAGE] for start in range(0, len(rows), _PAGE))


def order_of(position: str) -> tuple[int, int]:
    """Return what positions are ordered by; blank stands for the beginning."""
    milliseconds, _, number = position.partition("-")
    return int(milliseconds or 0), int(number or 0)


def _event(texts: Mapping[str, str]) -> LiveEvent:
    return LiveEvent(
        event_id=texts["event_id"],
        user_id=texts["user_id"],
        ts_us=int(texts["ts_us"]),
        event_type=texts["event_type"],
        item_id=texts["item_id"] or None,
        more=texts["more"] or None,
    )
