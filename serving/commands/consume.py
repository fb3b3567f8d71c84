"""``footfall consume``: keep the events of a stream as live state."""

from __future__ import annotations

import signal
import socket
import threading
from pathlib import Path
from typing import Any

from features.commands.parsing import run_command


def consume(
    store: Path,
    *,
    stream: str,
    topic: str = "footfall-events",
    group: str = "footfall",
    member: str = "",
    settings: Path | None = None,
    batch: int = 500,
    until_empty: bool = False,
) -> dict[str, Any]:
    """Keep a stream's events as if they had been sent to POST /v1/events, each exactly once, until interrupted.

    Args:
        store: release store that is served.
        stream: redis://HOST:PORT/0, or kafka://HOST:PORT, which is not tested.
        topic: key of the Redis stream, or Kafka's topic; dead messages go to TOPIC:dead, or TOPIC.dead.
        group: consumers of one group share the messages.
        member: name of this consumer, under which it goes on with what it held; this machine's name where left out.
        settings: the service's settings, such as serving.yaml; they say where live state is.
        batch: the most messages kept in one step.
        until_empty: end as soon as nothing more comes.
    """
    from features.release import ReleaseStore
    from serving.live.opening import open_live
    from serving.process.settings import ServeSettings
    from serving.streams.consume import Consumer
    from serving.streams.stream import open_stream

    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    found = ServeSettings.read(settings, {"store": str(store)})
    live = open_live(found.live, store)
    source = open_stream(stream, topic=topic, group=group, member=member or socket.gethostname())
    try:
        consumer = Consumer(source, live, ReleaseStore(root=store), batch=batch)
        return dict(vars(consumer.run(stops=stopping.is_set, until_empty=until_empty)))
    finally:
        source.close()
        live.close()


def run(argv: list[str]) -> dict[str, Any]:
    """Run ``footfall consume``."""
    return run_command(consume, argv, prog="footfall consume") or {}
