"""``footfall items``: bring the items of a model up to newer features, without a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from features.commands.parsing import run_command


def items(store: Path, *, features: Path, retrieval: str = "", most_changed: float = 0.2) -> dict[str, Any]:
    """Add new items to a retrieval part, placed by what is said of them, and take out what the shop no longer sells.

    A new version of the part is written beside the old one: towers, habits and item codes stay, the catalogue is the newer
    one, and the index is changed and measured again. `footfall promote` serves it, as any other part. Train again when
    much has changed: nobody has met the new items when the towers learned.

    Args:
        store: release store that holds the part.
        features: newer features of the same shop.
        retrieval: version of the part; the one that is served where left out, else the newest.
        most_changed: share of the items at the last training that may have come or gone since; beyond, it is refused.
    """
    from training.retrieval.refresh_items import refresh_items

    return refresh_items(features, store, retrieval=retrieval, most_changed=most_changed)


def run(argv: list[str]) -> dict[str, Any] | None:
    """Run ``footfall items``."""
    return run_command(items, argv, prog="footfall items")
