"""``footfall audiences``: preview, list, export, compare and grow audiences of a feature directory."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from features.commands.moves import moves
from features.commands.parsing import Command, Parameters, also_from, as_texts, run_subcommand
from features.errors import ConfigError
from features.settings import EngineSettings

if TYPE_CHECKING:
    from features.audiences.members import Audience
    from features.customers.table import CustomerTable
    from features.rules.session import RuleSession
    from features.settings import ShopSettings

READY: Final = "ready"
Purpose = Literal["analytics", "personalisation"]


def preview(
    features: Path,
    rules: str,
    name: str,
    *,
    parameters: Parameters = None,
    purpose: Purpose = "personalisation",
    engine: EngineSettings = EngineSettings(),
) -> dict[str, Any]:
    """Say how many customers an audience has.

    Args:
        features: directory that `footfall features` wrote.
        rules: YAML file of audiences, or `ready` for the ready ones.
        name: of the audience.
        parameters: what $name in the rule stands for, such as '{item: i17}'.
        purpose: which rows of the log may count; personalisation for whomever one writes to.
        engine: where rules are computed.
    """
    from features.audiences import members

    with opened_features(features, purpose=purpose, engine=engine) as opened:
        audience = opened.audience(rules, name, parameters)
        return members.preview(opened.session, audience, shop=opened.shop)


def list_members(
    features: Path,
    rules: str,
    name: str,
    *,
    offset: int = 0,
    limit: int = 100,
    parameters: Parameters = None,
    purpose: Purpose = "personalisation",
    engine: EngineSettings = EngineSettings(),
) -> dict[str, Any]:
    """List members of an audience page by page, in the order of their ids.

    Args:
        features: directory that `footfall features` wrote.
        rules: YAML file of audiences, or `ready`.
        name: of the audience.
        offset: how many to pass over.
        limit: the most to list.
        parameters: what $name in the rule stands for.
        purpose: which rows of the log may count.
        engine: where rules are computed.
    """
    from features.audiences import members

    with opened_features(features, purpose=purpose, engine=engine) as opened:
        page = members.members(opened.session, opened.audience(rules, name, parameters), offset=offset, limit=limit)
    return {"user_ids": list(page.user_ids), "total": page.total, "next_offset": page.next_offset}


def export(
    features: Path,
    rules: str,
    name: str,
    out: Path,
    *,
    format: Literal["parquet", "csv"] = "parquet",  # noqa: A002 (an option of this name)
    pseudonyms_for: str = "",
    key: Path | None = None,
    store: Path | None = None,
    parameters: Parameters = None,
    purpose: Purpose = "personalisation",
    engine: EngineSettings = EngineSettings(),
) -> dict[str, Any]:
    """Write all members of an audience to a file.

    Args:
        features: directory that `footfall features` wrote.
        rules: YAML file of audiences, or `ready`.
        name: of the audience.
        out: the file.
        format: parquet or csv.
        pseudonyms_for: recipient or use; ids are then replaced by keyed pseudonyms of this scope.
        key: key file for them; the variable FOOTFALL_PSEUDONYM_KEY where left out.
        store: release store; nobody on its erasure list is written down.
        parameters: what $name in the rule stands for.
        purpose: which rows of the log may count.
        engine: where rules are computed.
    """
    from features.audiences import members
    from features.privacy.pseudonyms import KeyRing
    from features.release.erasure import ErasedUsers
    from features.release.release import ReleaseStore

    erased = ErasedUsers() if store is None else ReleaseStore(root=store).erasures.load()
    names = KeyRing.load(key).pseudonyms(pseudonyms_for) if pseudonyms_for else None
    with opened_features(features, purpose=purpose, engine=engine) as opened:
        audience = opened.audience(rules, name, parameters)
        count = members.export(opened.session, audience, out, file_format=format, pseudonyms=names, erased=erased)
    return {"audience": name, "version": audience.version, "members": count, "out": str(out)}


def compare(
    features: Path,
    rules: str,
    a: str,
    b: str,
    *,
    top: int = 30,
    parameters: Parameters = None,
    engine: EngineSettings = EngineSettings(),
) -> dict[str, Any]:
    """Say what sets two audiences apart: tags, segments, categories and brands, by lift.

    Args:
        features: directory that `footfall features` wrote.
        rules: YAML file of audiences, or `ready`.
        a: one audience.
        b: the other.
        top: how many attributes to show, the surest first.
        parameters: what $name in the rules stands for.
        engine: where rules are computed.
    """
    from features.audiences.compare import attributes
    from features.audiences.compare import compare as compared
    from features.rules.session import columns_at_hand
    from features.tags.build import build_tags, tag_rules

    with opened_features(features, purpose="analytics", engine=engine) as opened:
        session = opened.session
        tags = build_tags(session, tag_rules(opened.shop, columns_at_hand(opened.customers.frame)), opened.customers)
        ids = [session.user_ids(opened.audience(rules, name, parameters).when) for name in (a, b)]
        least = opened.shop.privacy.minimum_group
        table = compared(ids[0], ids[1], attributes(session, tags=tags), minimum_group=least)
    sizes = [len(members) if len(members) >= least else None for members in ids]
    rows = json.loads(table.head(top).to_json(orient="records"))
    return {"a": a, "b": b, "sizes": sizes, "compared": len(table), "attributes": rows}


def look_alikes(
    features: Path,
    rules: str,
    name: str,
    n: int,
    *,
    out: Path | None = None,
    parameters: Parameters = None,
    purpose: Purpose = "personalisation",
    engine: EngineSettings = EngineSettings(),
) -> dict[str, Any]:
    """Grow an audience: the n customers outside it who resemble it most.

    Args:
        features: directory that `footfall features` wrote.
        rules: YAML file of audiences, or `ready`.
        name: of the audience.
        n: how many customers to find.
        out: Parquet file for user_id and score; without one they are listed.
        parameters: what $name in the rule stands for.
        purpose: which rows of the log may count.
        engine: where rules are computed.
    """
    from features.audiences.look_alikes import CustomerVectors
    from features.audiences.look_alikes import look_alikes as grown
    from features.files import staged_file

    with opened_features(features, purpose=purpose, engine=engine) as opened:
        seed = opened.session.user_ids(opened.audience(rules, name, parameters).when)
        found = grown(seed, CustomerVectors.from_session(opened.session), n=n)
    if out is None:
        return {"audience": name, "seed": len(seed), "user_ids": list(found["user_id"])}
    with staged_file(out) as aside:
        found.to_parquet(aside, index=False)
    return {"audience": name, "seed": len(seed), "found": len(found), "out": str(out)}


def run(argv: list[str]) -> dict[str, Any] | None:
    """Run ``footfall audiences``."""
    subcommands: dict[str, Command] = {
        "preview": preview,
        "list": list_members,
        "export": export,
        "compare": compare,
        "look-alikes": look_alikes,
        "moves": moves,
    }
    return run_subcommand(subcommands, also_from(argv), prog="footfall audiences")


class Opened:
    """A feature directory's log and customer table, ready for rules."""

    def __init__(self, session: RuleSession, customers: CustomerTable, shop: ShopSettings) -> None:
        self.session = session
        self.customers = customers
        self.shop = shop

    def audience(self, rules: str, name: str, parameters: Parameters) -> Audience:
        """Return an audience of a file, or of the ready ones."""
        from features.audiences.members import read_audience
        from features.rules.session import columns_at_hand

        own = None if rules == READY else Path(rules)
        columns = columns_at_hand(self.customers.frame)
        return read_audience(name, shop=self.shop, columns=columns, own=own, parameters=as_texts(parameters))


@contextlib.contextmanager
def opened_features(features: Path, *, purpose: str, engine: EngineSettings) -> Iterator[Opened]:
    """Yield a feature directory's log and customer table, ready for rules."""
    from features.build import CUSTOMERS_FILE, EVENT_LOG_FILE, ITEMS_FILE
    from features.customers.table import CustomerTable
    from features.event_log import EventLog
    from features.rules.session import RuleSession
    from features.settings import ShopSettings

    if not features.is_dir():
        raise ConfigError(f"{features}: expected a feature directory, found none; run `footfall features` first.")
    shop = ShopSettings.load(features)
    log, customers = EventLog.open(features / EVENT_LOG_FILE), CustomerTable.load(features / CUSTOMERS_FILE)
    with RuleSession.open(log, features / ITEMS_FILE, customers, shop=shop, purpose=purpose, engine=engine) as session:
        yield Opened(session, customers, shop)
