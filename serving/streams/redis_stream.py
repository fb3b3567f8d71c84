"""A Redis stream, read by a consumer group.

Each entry holds a row of NewEvent: as JSON in a field ``event``, or its fields as they are.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from features.errors import ConfigError
from serving.streams.stream import DeadRow, StreamError, StreamRow

try:
    import redis
except ImportError:
    raise ConfigError(
        "--stream: expected the Redis client to be installed, found none; run pip install 'footfall[redis]'."
    ) from None

EVENT: Final = "event"
_NUMBERS: Final = frozenset({"quantity", "price", "dwell_ms"})
_INTEGER: Final = re.compile(r"-?[0-9]{1,18}")  # that 64 bits hold; what is none is judged as the text it is
_LEFT_MS: Final = 60_000  # entries that a member has held for this long are another's to take
_OWN, _NEW = "0", ">"


class RedisStream:
    """One member of a group.

    Args:
        url: of the server.
        topic: key of the stream; dead messages go to ``TOPIC:dead``.
        group: made where absent, from the stream's beginning.
        member: goes on with what it held when it was killed.
    """

    def __init__(self, url: str, *, topic: str, group: str, member: str) -> None:
        self._client: Any = redis.Redis.from_url(url, socket_timeout=None)
        self._topic = topic
        self._group = group
        self._member = member
        self._from = _OWN  # first what was read before and not committed
        self._is_ready = False

    @property
    def name(self) -> str:
        """The stream's key."""
        return self._topic

    def read(self, *, limit: int, wait_seconds: float) -> list[StreamRow]:
        """Return what this member held, then what others left, then what is new."""
        with _explained():
            self._join()
            if self._from == _OWN:
                found = self._read_group(_OWN, limit, None)
                if found:
                    return found
                self._from = _NEW
            return self._left(limit) or self._read_group(_NEW, limit, max(1, int(wait_seconds * 1000)))

    def commit(self, rows: Sequence[StreamRow], *, dead: Sequence[DeadRow] = ()) -> None:
        """Acknowledge entries, and set the dead ones aside, in one step."""
        if not rows:
            return
        with _explained(), self._client.pipeline(transaction=True) as step:
            for one in dead:
                fields = {"position": one.row.position, "reason": one.reason, EVENT: one.row.payload}
                step.xadd(f"{self._topic}:dead", fields)
            step.xack(self._topic, self._group, *(row.position for row in rows))
            step.execute()

    def close(self) -> None:
        """Close the connection; what is not committed stays this member's."""
        self._client.close()

    def _join(self) -> None:
        if self._is_ready:
            return
        with contextlib.suppress(redis.ResponseError):  # it is there
            self._client.xgroup_create(self._topic, self._group, id="0", mkstream=True)
        self._is_ready = True

    def _read_group(self, start: str, limit: int, wait_ms: int | None) -> list[StreamRow]:
        found = self._client.xreadgroup(self._group, self._member, {self._topic: start}, count=limit, block=wait_ms)
        # Bytes throughout: what is not UTF-8 is one entry's fault, not the whole read's.
        streams = found.values() if isinstance(found, Mapping) else (rows for _, rows in found or ())
        return [_row(position, fields) for rows in streams for position, fields in _entries(rows)]

    def _left(self, limit: int) -> list[StreamRow]:
        _, found, *_ = self._client.xautoclaim(self._topic, self._group, self._member, _LEFT_MS, count=limit)
        return [_row(position, fields) for position, fields in found]


def _entries(rows: Any) -> Iterator[tuple[bytes, Mapping[bytes, bytes]]]:
    """RESP3 puts the entries of a stream into a list of their own."""
    for one in rows:
        if isinstance(one, list) and one and isinstance(one[0], (list, tuple)):
            yield from _entries(one)
        else:
            yield one[0], one[1] or {}


def _row(position: bytes, fields: Mapping[bytes, bytes]) -> StreamRow:
    where = position.decode()
    if (event := fields.get(EVENT.encode())) is not None:
        return StreamRow(where, event)
    try:
        texts = {name.decode(): value.decode() for name, value in fields.items()}
    except UnicodeDecodeError as error:
        return StreamRow(where, b"\n".join(b"%s=%s" % field for field in fields.items()), broken=str(error))
    plain = {name: _number(value) if name in _NUMBERS else value for name, value in texts.items()}
    return StreamRow(where, msgspec.json.encode(plain))


def _number(text: str) -> int | str:
    return int(text) if _INTEGER.fullmatch(text) else text


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except redis.RedisError as error:
        raise StreamError(f"Redis: {type(error).__name__}: {error}") from None
