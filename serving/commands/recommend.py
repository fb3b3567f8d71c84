"""``footfall recommend``: lists for every user at once, for mails, caches and apps."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from features.commands.parsing import run_command


def recommend(
    store: Path,
    *,
    out: Path,
    users: str = "all",
    surface: Literal["for_you", "buy_it_again", "trending", "new_arrivals"] = "for_you",
    k: int = 20,
    exclude_seen: bool = False,
    repeat: Literal["allow", "discount", "exclude"] | None = None,
    category: str = "",
    brand: str = "",
    min_price: int | None = None,
    max_price: int | None = None,
    in_stock: bool = False,
    region: str = "",
    not_seen_days: int | None = None,
    not_purchased_days: int | None = None,
    diversity: float | None = None,
    rules: Path | None = None,
    settings: Path | None = None,
    release: str = "",
    at: str = "",
    exact: bool = False,
    workers: int = 0,
    shard_users: int = 20_000,
    replace: bool = False,
) -> dict[str, Any]:
    """Write the lists that POST /v1/recommend would answer, without live events, as Parquet; run again to go on.

    Args:
        store: release store.
        out: directory of the lists: part-*.parquet, and _manifest.json.
        users: Parquet or CSV file with a column user_id; every user of the release where left out, or `all`.
        surface: what is asked for.
        k: the most items of a list.
        exclude_seen: leave out what the history holds.
        repeat: items bought before; the shop's own setting where left out.
        category: only items of this path and below.
        brand: only items of this brand.
        min_price: only items of this price or above, in minor units.
        max_price: only items of this price or below, in minor units.
        in_stock: only items whose stock was told and is above 0.
        region: only items sold there.
        not_seen_days: leave out what was met in the last so many days.
        not_purchased_days: leave out what was bought in the last so many days.
        diversity: 0 to 1, how much items of a list should differ.
        rules: YAML file of merchandising rules; those of --settings where left out.
        settings: the service's settings, such as serving.yaml: its rules, and where its live state is.
        release: id of the release; the store's current one where left out.
        at: instant to which the timing of repeats and rules count, such as 2026-11-23T04:00:00Z; the present where left out.
        exact: rank every item where the release's index, whose recall its manifest says, would be asked.
        workers: processes; one a core where 0.
        shard_users: users of one part.
        replace: begin anew where OUT holds lists of another run.
    """
    from serving.process.threads import one_thread_each

    one_thread_each()
    import msgspec

    from features.release import ReleaseStore
    from serving.api.schemas import Filters
    from serving.bulk.run import recommend_all
    from serving.bulk.settings import BulkSettings
    from serving.process.settings import ServeSettings

    given = {
        "category": category or None,
        "brand": brand or None,
        "min_price": min_price,
        "max_price": max_price,
        "in_stock": in_stock or None,
        "region": region or None,
        "not_seen_days": not_seen_days,
        "not_purchased_days": not_purchased_days,
    }
    filters = {name: value for name, value in given.items() if value is not None}
    served = ServeSettings.read(settings, {"store": str(store)})
    if rules is not None:
        served = msgspec.structs.replace(served, rules=msgspec.structs.replace(served.rules, path=str(rules)))
    return recommend_all(
        ReleaseStore(root=store),
        None if users == "all" else Path(users),
        out,
        BulkSettings(
            surface=surface,
            k=k,
            exclude_seen=exclude_seen,
            repeat=repeat,
            filters=msgspec.convert(filters, Filters) if filters else None,
            diversity=diversity,
            exact=exact,
            shard_users=shard_users,
        ),
        served=served,
        release_id=release,
        at_us=_instant_us(at) if at else 0,
        workers=workers,
        replace=replace,
    )


def _instant_us(text: str) -> int:
    import contextlib
    import datetime as dt

    from features.errors import ConfigError

    instant: dt.datetime | None = None
    with contextlib.suppress(ValueError):
        instant = dt.datetime.fromisoformat(text)
    if instant is None or instant.tzinfo is None:
        raise ConfigError(f"at: expected an instant with its offset such as 2026-11-23T04:00:00Z, found {text!r}.")
    return round(instant.timestamp() * 1e6)


def run(argv: list[str]) -> dict[str, Any]:
    """Run ``footfall recommend``."""
    return run_command(recommend, argv, prog="footfall recommend") or {}
