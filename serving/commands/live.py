"""``footfall live``: what the service was sent, for the next feature build."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from features.commands.parsing import Command, run_subcommand
from features.settings import EngineSettings


def export(
    store: Path,
    *,
    to: Path | None = None,
    settings: Path | None = None,
    keep_days: int = 0,
    engine: EngineSettings = EngineSettings(),
) -> dict[str, Any]:
    """Move the events that the service acknowledged into STORE/live_log, and from there into a data directory.

    Args:
        store: release store that is served.
        to: data directory that the next `footfall features` reads; it grows by the events that it does not hold.
        settings: the service's settings, such as serving.yaml; they say where live state is.
        keep_days: days that stay in STORE/live_log once they are in the data directory; 0 keeps all.
        engine: where tables are computed.
    """
    from features.release import ReleaseStore
    from serving.live.exporting import export_live
    from serving.live.opening import open_live
    from serving.process.settings import ServeSettings

    found = ServeSettings.read(settings, {"store": str(store)})
    live = open_live(found.live, store)
    try:
        return export_live(live, ReleaseStore(root=store), to=to, keep_days=keep_days, engine=engine)
    finally:
        live.close()


def run(argv: list[str]) -> dict[str, Any] | None:
    """Run ``footfall live``."""
    subcommands: dict[str, Command] = {"export": export}
    return run_subcommand(subcommands, argv, prog="footfall live")
