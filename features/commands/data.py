"""``footfall data``: bring a shop's log into the contract."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from features.commands.parsing import Command, run_subcommand
from features.errors import ConfigError
from features.settings import EngineSettings, ShopSettings


def complete_journey(out: Path, engine: EngineSettings = EngineSettings()) -> dict[str, Any]:
    """Write the Complete Journey grocery data, which the extra `demo` installs, as a data directory.

    Args:
        out: directory to write; must not exist.
        engine: where tables are computed.
    """
    from features.sources.complete_journey import import_complete_journey

    return import_complete_journey(out, engine=engine)


def import_files(
    src: Path,
    out: Path,
    *,
    mapping: str = "",
    shop: ShopSettings = ShopSettings(),
    engine: EngineSettings = EngineSettings(),
) -> dict[str, Any]:
    """Write CSV, Parquet or JSON-lines files as a data directory; rows that break the contract are set aside.

    Args:
        src: file, or directory of files.
        out: directory to write; must not exist.
        mapping: ga4, segment, taobao, retailrocket, or the path of a mapping file in YAML.
        shop: facts about the shop, kept in the data directory.
        engine: where tables are computed.
    """
    from features.sources.importer import import_source

    if not mapping:
        raise ConfigError("expected --mapping ga4, segment, taobao, retailrocket or a YAML file, found none.")
    return import_source(src, out, mapping=mapping, shop=shop, engine=engine)


def synth(out: Path, users: int = 5_000, items: int = 1_000, days: int = 180, seed: int = 0) -> dict[str, Any]:
    """Write a simulated shop with its known truths, labelled synthetic.

    Args:
        out: directory to write; must not exist.
        users: number of customers.
        items: number of items.
        days: number of days.
        seed: the same arguments give the same files.
    """
    from features.sources.synthetic import generate

    return generate(out, num_users=users, num_items=items, num_days=days, seed=seed)


def run(argv: list[str]) -> dict[str, Any] | None:
    """Run ``footfall data``."""
    subcommands: dict[str, Command] = {"complete-journey": complete_journey, "import": import_files, "synth": synth}
    return run_subcommand(subcommands, argv, prog="footfall data")
