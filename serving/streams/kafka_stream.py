"""A Kafka topic, read by a consumer group. Not tested: no broker could be had where this was built.

Each message's value is a row of NewEvent as JSON. Needs ``pip install confluent-kafka``.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from features.errors import ConfigError
from serving.streams.stream import DeadRow, StreamError, StreamRow

try:
    import confluent_kafka as kafka
except ImportError:
    raise ConfigError(
        "--stream: expected the Kafka client to be installed, found none; run pip install confluent-kafka."
    ) from None

_log = logging.getLogger(__name__)


class KafkaStream:
    """One member of a group.

    Args:
        url: kafka://broker:9092.
        topic: dead messages go to ``TOPIC.dead``.
        group: begins with the oldest message.
        member: a member's fixed name, under which it comes back without a rebalance.
    """

    def __init__(self, url: str, *, topic: str, group: str, member: str) -> None:
        servers = {"bootstrap.servers": urlsplit(url).netloc}
        self._topic = topic
        self._consumer: Any = kafka.Consumer(
            servers
            | {
                "group.id": group,
                "group.instance.id": member,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
            }
        )
        self._consumer.subscribe([topic])
        self._producer: Any = kafka.Producer(servers | {"enable.idempotence": True, "acks": "all"})

    @property
    def name(self) -> str:
        """The topic."""
        return self._topic

    def read(self, *, limit: int, wait_seconds: float) -> list[StreamRow]:
        """Return the next messages of this member's partitions."""
        found = self._consumer.consume(num_messages=limit, timeout=wait_seconds)
        errors = [one.error() for one in found if one.error() is not None]
        rows = [
            StreamRow(f"{one.partition()}-{one.offset()}", one.value() or b"") for one in found if one.error() is None
        ]
        # The consumer stands behind the messages that came with an error: they are this call's to return, or lost.
        for error in errors if rows else ():
            _log.warning("Kafka: %s", error)
        if errors and not rows:
            raise StreamError(f"Kafka: {errors[0]}")
        return rows

    def commit(self, rows: Sequence[StreamRow], *, dead: Sequence[DeadRow] = ()) -> None:
        """Produce the dead messages, then commit; a crash between the two repeats dead messages, never events."""
        for one in dead:
            headers = [("position", one.row.position.encode()), ("reason", one.reason.encode())]
            self._producer.produce(f"{self._topic}.dead", value=one.row.payload, headers=headers)
        if dead and self._producer.flush(30):
            raise StreamError(f"Kafka: {self._topic}.dead takes no messages")
        newest: dict[int, int] = {}
        for row in rows:
            partition, offset = (int(part) for part in row.position.split("-"))
            newest[partition] = max(newest.get(partition, -1), offset)
        offsets = [kafka.TopicPartition(self._topic, partition, offset + 1) for partition, offset in newest.items()]
        try:
            self._consumer.commit(offsets=offsets, asynchronous=False)
        except kafka.KafkaException as error:
            raise StreamError(f"Kafka: {error}") from None

    def close(self) -> None:
        """Leave the group."""
        self._consumer.close()
