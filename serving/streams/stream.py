"""A stream of events, whoever runs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from features.errors import ConfigError


class StreamRow(NamedTuple):
    """One message.

    Args:
        position: where it stands in the stream; never that of another.
        payload: a JSON object, a row of NewEvent.
        broken: why the message holds none, blank where it may.
    """

    position: str
    payload: bytes
    broken: str = ""


class DeadRow(NamedTuple):
    """A message that no event could be made of, and why."""

    row: StreamRow
    reason: str


class EventStream(Protocol):
    """Reads as one member of a group; what was read and not committed comes again, to this member or to another."""

    @property
    def name(self) -> str:
        """What the messages' positions belong to."""
        ...

    def read(self, *, limit: int, wait_seconds: float) -> list[StreamRow]:
        """Return the next messages; none where none came in time.

        Raises:
            StreamError: the stream does not answer.
        """
        ...

    def commit(self, rows: Sequence[StreamRow], *, dead: Sequence[DeadRow] = ()) -> None:
        """Let go of messages whose events are kept, and put those among them that are dead where people look.

        Raises:
            StreamError: the stream does not answer; the messages come again.
        """
        ...

    def close(self) -> None:
        """Leave."""
        ...


class StreamError(Exception):
    """A stream does not answer."""


def open_stream(url: str, *, topic: str, group: str, member: str) -> EventStream:
    """Return the stream at a URL.

    Args:
        url: redis://..., or kafka://broker:9092.
        topic: of the stream there.
        group: members of one group share the messages.
        member: this one; one that comes back under its name goes on with what it held.

    Raises:
        ConfigError: the URL is of neither, or its client is not installed.
    """
    if url.startswith(("redis://", "rediss://", "unix://")):
        from serving.streams.redis_stream import RedisStream  # noqa: PLC0415 - an optional dependency

        return RedisStream(url, topic=topic, group=group, member=member)
    if url.startswith("kafka://"):
        from serving.streams.kafka_stream import KafkaStream  # noqa: PLC0415 - an optional dependency

        return KafkaStream(url, topic=topic, group=group, member=member)
    raise ConfigError(f"--stream: expected redis://HOST:PORT/0 or kafka://HOST:PORT, found {url!r}.")
