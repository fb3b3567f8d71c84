"""``footfall webhooks``: send what waits in the outbox, look at what was given up, and make signing secrets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.commands.parsing import Command, run_subcommand

if TYPE_CHECKING:
    from serving.outbox.messages import Messages
    from serving.process.settings import ServeSettings


def send(store: Path, *, config: Path) -> dict[str, Any]:
    """Fill the outbox with what is open now for everyone with live events, and send what is due, once.

    For cron, or beside a service with `webhooks: {send: false}`; it leaves alone what another process is at.

    Args:
        store: release store.
        config: YAML file of the service's settings, whose `webhooks` name the endpoints.
    """
    from prometheus_client import CollectorRegistry

    from features.release import ReleaseStore
    from serving.engine import Engine
    from serving.live.opening import open_live
    from serving.outbox.metrics import OutboxMetrics
    from serving.outbox.outbox import Outbox
    from serving.privacy.erasures import ErasureWatch
    from serving.release.state import ReleaseState

    settings = _settings(store, config)
    releases = ReleaseStore(root=Path(settings.store))
    live = open_live(settings.live, Path(settings.store))
    engine = Engine(ReleaseState.load(releases, settings.release_id), live, ErasureWatch(releases.erasures))
    nobody_asks = OutboxMetrics(CollectorRegistry())  # the service counts; what this process does ends with it
    outbox = Outbox(settings.webhooks, releases.root, lambda: engine, metrics=nobody_asks)
    try:
        added = outbox.fill(everyone=True)
        dropped = outbox.forget()
        tried = {one.endpoint.name: one.run_once() for one in outbox.deliveries}
    finally:
        outbox.stop()
    return {"added": added, "dropped": dropped, "tried": tried, "messages": outbox.messages.counts()}


def status(store: Path, *, config: Path) -> dict[str, Any]:
    """Count messages by endpoint and state.

    Args:
        store: release store.
        config: YAML file of the service's settings.
    """
    settings = _settings(store, config)
    messages = _messages(settings)
    counts = messages.counts()
    return {
        "path": str(settings.webhooks.file(Path(settings.store))),
        "endpoints": {
            one.name: {
                "url": one.url,
                "gone": messages.is_gone(one.name),
                "messages": counts.get(one.name, {}),
            }
            for one in settings.webhooks.endpoints
        },
    }


def dead(store: Path, *, config: Path) -> dict[str, Any]:
    """List messages that were given up, without what they say.

    Args:
        store: release store.
        config: YAML file of the service's settings.
    """
    from serving.history.stored import to_instant

    found = _messages(_settings(store, config)).dead()
    return {
        "dead": [
            {
                "endpoint": one.endpoint,
                "message_id": one.message_id,
                "attempts": one.attempts,
                "said": one.said,
                "added_at": str(to_instant(one.created_us)),
            }
            for one in found
        ]
    }


def retry(store: Path, endpoint: str, *, config: Path, message: str = "") -> dict[str, Any]:
    """Let messages that were given up be tried again, also where the receiver had said that it is gone.

    Args:
        store: release store.
        endpoint: its name.
        config: YAML file of the service's settings.
        message: id of one message; all of the endpoint where left out.
    """
    from serving.surfaces.clock import wall_clock_us

    settings = _settings(store, config)
    name, messages = settings.webhooks.endpoint(endpoint).name, _messages(settings)
    messages.note_gone(name, gone=False)
    return {"pending_again": messages.retry(endpoint=name, message_id=message, now_us=wall_clock_us())}


def secret(path: Path) -> dict[str, Any]:
    """Write a new signing secret into a file for its owner alone, before those that it holds already.

    The receiver gets the same line. Both old and new sign until you remove the old line.

    Args:
        path: of the file.
    """
    from features.files import write_bytes
    from serving.outbox.signing import new_secret

    held = path.read_text(encoding="ascii").split() if path.exists() else []
    write_bytes(path, "".join(f"{one}\n" for one in [new_secret(), *held]).encode(), mode=0o600)
    return {"path": str(path), "secrets": len(held) + 1}


def run(argv: list[str]) -> dict[str, Any] | None:
    """Run ``footfall webhooks``."""
    subcommands: dict[str, Command] = {"send": send, "status": status, "dead": dead, "retry": retry, "secret": secret}
    return run_subcommand(subcommands, argv, prog="footfall webhooks")


def _settings(store: Path, config: Path) -> ServeSettings:
    from serving.process.settings import ServeSettings

    return ServeSettings.read(config, {"store": str(store.resolve())})


def _messages(settings: ServeSettings) -> Messages:
    from serving.outbox.messages import Messages

    return Messages(settings.webhooks.file(Path(settings.store)))
