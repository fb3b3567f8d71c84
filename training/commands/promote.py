"""``footfall promote``: join parts into a release and serve it from now on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from features.commands.parsing import run_command
from features.release import PartKind


def promote(
    store: Path, features: Path | None = None, retrieval: str = "", demand: str = "", customers: str = ""
) -> dict[str, Any]:
    """Join one version of each part into a release, register it, and move the alias `serving` to it.

    Args:
        store: release store that `footfall train` wrote into.
        features: make the customers part from these features first.
        retrieval: version of the retrieval part; the newest where left out.
        demand: version of the demand part; the newest where left out.
        customers: version of the customers part; the newest where left out.
    """
    from training.promotion import promote_release

    versions: dict[PartKind, str] = {"retrieval": retrieval, "demand": demand, "customers": customers}
    return promote_release(store, features=features, versions=versions)


def run(argv: list[str]) -> dict[str, Any] | None:
    """Run ``footfall promote``."""
    return run_command(promote, argv, prog="footfall promote")
