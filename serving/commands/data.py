"""``footfall data``: what ``features.commands.data`` does, and erasure, which reaches what the service holds too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from features.commands.data import SUBCOMMANDS
from features.commands.parsing import also_from, run_subcommand
from features.errors import ConfigError
from features.settings import EngineSettings


def erase(
    user: str,
    data: Path | None = None,
    *,
    features: Path | None = None,
    store: Path | None = None,
    settings: Path | None = None,
    live: Path | None = None,
    engine: EngineSettings = EngineSettings(),
) -> dict[str, Any]:
    """Remove a customer, under all linked ids, from every place that is given, and say what was removed where.

    Args:
        user: an id of the customer; write --user ID or the id alone.
        data: data directory.
        features: feature directory made from it, which is built again.
        store: release store: erasure list, customers parts of all releases, and what the service keeps beside them.
        settings: the service's settings, such as serving.yaml; they say where live state, exposures and webhooks are.
        live: file of live events, where it is not in the store and no settings say so.
        engine: where tables are computed.
    """
    from features.privacy.erase import erase_customer
    from serving.privacy.served import ServedPlaces
    from serving.process.settings import ServeSettings

    if store is None and (settings is not None or live is not None):
        raise ConfigError("--settings, --live: expected --store beside them, found none.")
    served = None
    if store is not None:
        found = ServeSettings.read(settings, {"store": str(store)})
        served = ServedPlaces.of(found, store, live_file=live)
    return erase_customer(user, data=data, features=features, store=store, served=served, engine=engine)


def _plain(argv: list[str]) -> list[str]:
    """Let ``log`` take --from and --to, and ``erase`` its id as --user ID."""
    words = also_from(argv)
    if words[:1] == ["erase"] and "--user" in words[:-1]:
        place = words.index("--user")
        return ["erase", words[place + 1], *words[1:place], *words[place + 2 :]]
    return words


def run(argv: list[str]) -> dict[str, Any] | None:
    """Run ``footfall data``."""
    words = _plain(argv) if argv[:1] in (["log"], ["erase"]) else argv
    return run_subcommand(SUBCOMMANDS | {"erase": erase}, words, prog="footfall data")
