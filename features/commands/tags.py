"""``footfall tags``: who carries which tag, and how much each tag says of the next period."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from features.commands.audiences import opened_features
from features.commands.parsing import Command, run_subcommand
from features.settings import EngineSettings


def build(
    features: Path, out: Path, *, rules: Path | None = None, engine: EngineSettings = EngineSettings()
) -> dict[str, Any]:
    """Write every tag of every customer with since, until and evidence to one Parquet file.

    An earlier file at that place gives tags that rest on the customer table their earlier since.

    Args:
        features: directory that `footfall features` wrote.
        out: the file.
        rules: YAML file with tags of your own beside the ready ones.
        engine: where rules are computed.
    """
    import pandas as pd

    from features.arrow import write_parquet
    from features.files import staged_file
    from features.rules.session import columns_at_hand
    from features.tags.build import build_tags, tag_rules

    with opened_features(features, purpose="analytics", engine=engine) as opened:
        found = tag_rules(opened.shop, columns_at_hand(opened.customers.frame), own=rules)
        previous = pd.read_parquet(out) if out.is_file() else None
        tags = build_tags(opened.session, found, opened.customers, previous=previous)
    with staged_file(out) as aside:
        write_parquet(tags, aside)
    counts = {str(name): int(count) for name, count in tags["tag"].value_counts().sort_index().items()}
    return {"out": str(out), "tags": len(tags), "customers": int(tags["user_id"].nunique()), "by_tag": counts}


def validate(
    features: Path,
    *,
    json: Path | None = None,
    rules: Path | None = None,
    cut_offs: int = 3,
    period_days: int = 28,
    engine: EngineSettings = EngineSettings(),
) -> dict[str, Any]:
    """Judge tags by the period behind several past days: purchase rate and spend of tagged against untagged customers.

    Args:
        features: directory that `footfall features` wrote.
        json: file for the result.
        rules: YAML file with tags of your own beside the ready ones.
        cut_offs: how many past days, one period apart.
        period_days: length of the period behind each.
        engine: where tables are computed.
    """
    from features.build import CUSTOMERS_FILE, EVENT_LOG_FILE, ITEMS_FILE
    from features.customers.table import CustomerTable
    from features.event_log import EventLog
    from features.files import write_json
    from features.rules.session import columns_at_hand
    from features.settings import ShopSettings
    from features.tags.build import tag_rules
    from features.tags.validate import ValidationSettings, as_json, validate_tags
    from features.tags.validate import cut_offs as days_of

    shop, log = ShopSettings.load(features), EventLog.open(features / EVENT_LOG_FILE)
    at_hand = columns_at_hand(CustomerTable.load(features / CUSTOMERS_FILE).frame)
    settings = ValidationSettings(period_days=period_days, num_cut_offs=cut_offs)
    judged = tag_rules(shop, at_hand, own=rules)
    table = validate_tags(log, features / ITEMS_FILE, judged, shop=shop, settings=settings, engine=engine)
    result = as_json(table, days_of(log, settings), settings, judged)
    if json is not None:
        write_json(json, result)
    return result


def run(argv: list[str]) -> dict[str, Any] | None:
    """Run ``footfall tags``."""
    subcommands: dict[str, Command] = {"build": build, "validate": validate}
    return run_subcommand(subcommands, argv, prog="footfall tags")
