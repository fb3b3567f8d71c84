"""``footfall data``: bring a shop's log into the contract, and look at one customer's."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from features.commands.check import check
from features.commands.links import deny, links
from features.commands.parsing import Command
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


def log(
    directory: Path,
    user: str = "",
    since: str = "",
    until: str = "",
    out: Path | None = None,
    *,
    why: str = "",
    who: str = "",
    pseudonymise: str = "",
    key: Path | None = None,
    linked: bool = True,
    audit: Path | None = None,
    engine: EngineSettings = EngineSettings(),
) -> dict[str, Any]:
    """Export one customer's activity, or without --user everyone's in a window; who asked is recorded.

    Args:
        directory: data or feature directory.
        user: an id of the customer; linked ids count as theirs.
        since: first time (also --from): 2026-03-01, or 2026-03-01T10:15, in the shop's zone unless it has an offset.
        until: end (also --to): a time, which is left out, or a day, which is not.
        out: file to write, .csv, .parquet or .jsonl; without it the first 1,000 rows stand in the result.
        why: reason, for the record.
        who: name of whoever asks; the account of this process where left out.
        pseudonymise: recipient of the export: ids become pseudonyms for them alone, and free texts are left out.
        key: file of pseudonym keys; the variable FOOTFALL_PSEUDONYM_KEY where left out.
        linked: whether rows under linked ids count as the customer's.
        audit: file of the record; access.jsonl beside the directory where left out.
        engine: where tables are computed.
    """
    from features.privacy.export import export_activity

    return export_activity(
        directory,
        user=user,
        times=(since, until),
        out=out,
        asker=(who, why),
        recipient=pseudonymise,
        key=key,
        linked=linked,
        audit=audit,
        engine=engine,
    )


def key(file: Path, rotate: bool = False) -> dict[str, Any]:
    """Make a file of pseudonym keys, for its owner alone, or add a key to it.

    Args:
        file: to write.
        rotate: whether a key is added; new pseudonyms then use it, and old ones still lead back.
    """
    from features.privacy.pseudonyms import KeyRing

    ring = KeyRing.rotate(file) if rotate else KeyRing.create(file)
    return {"file": str(file), "newest": f"k{ring.newest}", "keys": len(ring.keys)}


def reveal(
    pseudonym: str,
    directory: Path,
    recipient: str,
    *,
    why: str = "",
    who: str = "",
    key: Path | None = None,
    audit: Path | None = None,
) -> dict[str, Any]:
    """Say which id of a data or feature directory a pseudonym stands for; who asked is recorded.

    Args:
        pseudonym: such as k2: and 32 hex digits.
        directory: data or feature directory.
        recipient: whom it was made for.
        why: reason, for the record.
        who: name of whoever asks; the account of this process where left out.
        key: file of pseudonym keys; the variable FOOTFALL_PSEUDONYM_KEY where left out.
        audit: file of the record; access.jsonl beside the directory where left out.
    """
    from features.privacy.export import reveal_pseudonym

    return reveal_pseudonym(pseudonym, directory, recipient=recipient, asker=(who, why), key=key, audit=audit)


# `footfall data` joins `erase` to them: what the service holds is known there.
SUBCOMMANDS: Final[dict[str, Command]] = {
    "complete-journey": complete_journey,
    "import": import_files,
    "synth": synth,
    "check": check,
    "log": log,
    "key": key,
    "reveal": reveal,
    "links": links,
    "deny": deny,
}
