"""What of the Kafka reader can be held without a broker: a stand-in for the client's answers."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from serving.streams.stream import EventStream, StreamError, open_stream


class Message(NamedTuple):
    """As ``confluent_kafka.Message`` answers."""

    number: int
    failure: str | None = None

    def error(self) -> str | None:
        return self.failure

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self.number

    def value(self) -> bytes:
        return b"%d" % self.number


@pytest.fixture
def stream_of(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[list[Message]], EventStream]]:
    """Open a stream whose broker gives these messages."""

    def opened(messages: list[Message]) -> EventStream:
        consumer: Any = types.SimpleNamespace(subscribe=lambda _: None, consume=lambda **_: messages)
        client: Any = types.ModuleType("confluent_kafka")
        client.Consumer = lambda _: consumer
        client.Producer = lambda _: None
        monkeypatch.setitem(sys.modules, "confluent_kafka", client)
        monkeypatch.delitem(sys.modules, "serving.streams.kafka_stream", raising=False)
        return open_stream("kafka://broker:9092", topic="t", group="g", member="m")

    yield opened
    sys.modules.pop("serving.streams.kafka_stream", None)


def test_read_when_an_error_comes_among_messages_then_those_are_returned(
    stream_of: Callable[[list[Message]], EventStream],
) -> None:
    stream = stream_of([Message(1), Message(2, "broker down"), Message(3)])
    assert [row.payload for row in stream.read(limit=10, wait_seconds=0)] == [b"1", b"3"]


def test_read_when_nothing_but_an_error_comes_then_it_is_raised(
    stream_of: Callable[[list[Message]], EventStream],
) -> None:
    with pytest.raises(StreamError, match="Kafka: broker down"):
        stream_of([Message(1, "broker down")]).read(limit=10, wait_seconds=0)
