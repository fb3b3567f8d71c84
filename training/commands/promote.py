"""``footfall promote``: join parts into a release and serve it from now on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from features.commands.parsing import run_command
from features.release import PartKind


def promote(
    store: Path,
    *,
    features: Path | None = None,
    retrieval: str = "",
    demand: str = "",
    customers: str = "",
    force: bool = False,
) -> dict[str, Any]:
    """Join one version of each part into a release, register it, and move the alias `serving` to it.

    A retrieval or demand part has to earn its place: it and the one that is served now are scored on the same newest
    window. The same configuration on newer data may be at most 2% worse, another configuration has to be better, each
    beyond its interval. A retrieval part that is kept back moves nothing (exit code 4), nor does a demand part that was
    named; the newest demand part, where it is kept back, leaves the others to go on with the one that is served.

    Args:
        store: release store that `footfall train` wrote into.
        features: make the customers part from these features first, and compare on their newest window; where left
            out, on that of the features that each part was trained on.
        retrieval: version of the retrieval part; the newest where left out.
        demand: version of the demand part; the newest where left out.
        customers: version of the customers part; the newest where left out.
        force: promote the parts that are named, or all where none is, whatever the rule says; what it overrode is recorded.
    """
    from training.promotion import promote_release

    versions: dict[PartKind, str] = {"retrieval": retrieval, "demand": demand, "customers": customers}
    return promote_release(store, features=features, versions=versions, force=force)


def run(argv: list[str]) -> dict[str, Any] | None:
    """Run ``footfall promote``."""
    return run_command(promote, argv, prog="footfall promote")
