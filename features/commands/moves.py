"""``footfall audiences moves``: who became what since a day."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any, Final, Literal

from features.errors import ConfigError
from features.settings import EngineSettings

_A_WEEK: Final = dt.timedelta(days=7)


def moves(
    features: Path,
    out: Path,
    *,
    since: str = "",
    column: str = "growth_stage",
    was: str = "",
    now: str = "",
    consents: Path | None = None,
    store: Path | None = None,
    purpose: Literal["analytics", "personalisation"] = "personalisation",
    pseudonyms_for: str = "",
    key: Path | None = None,
    engine: EngineSettings = EngineSettings(),
) -> dict[str, Any]:
    """Write who became what since a day, such as from loyal to silent since last week, to a file.

    Args:
        features: directory that `footfall features` wrote.
        out: file for user_id, was and now, .parquet or .csv.
        since: the earlier day (also --from), such as 2026-03-01; a week before the last one where left out.
        column: growth_stage, lifecycle, rfm_segment, value_tier or another text of the customer table.
        was: only those who were this; (none) for those who were not known yet.
        now: only those who are this.
        consents: data directory whose consents are newer than those of the features.
        store: release store; nobody on its erasure list is written down.
        purpose: what customers must consent to at this moment; personalisation for whomever one writes to.
        pseudonyms_for: recipient or use; ids are then replaced by keyed pseudonyms of this scope.
        key: key file for them; the variable FOOTFALL_PSEUDONYM_KEY where left out.
        engine: where tables are computed.
    """
    from features import columns as c
    from features.build import CUSTOMERS_FILE
    from features.customers.as_of import customers_as_of
    from features.customers.moves import moved, step_counts, steps_between
    from features.customers.table import CustomerTable
    from features.exports import export_rows, format_of
    from features.privacy.lookup import consents_of_features
    from features.privacy.pseudonyms import KeyRing
    from features.release.erasure import ErasedUsers
    from features.release.release import ReleaseStore
    from features.settings import ShopSettings

    file_format = format_of(out)
    names = KeyRing.load(key).pseudonyms(pseudonyms_for) if pseudonyms_for else None
    if not features.is_dir():
        raise ConfigError(f"{features}: expected a feature directory, found none; run `footfall features` first.")
    shop, table = ShopSettings.load(features), CustomerTable.load(features / CUSTOMERS_FILE)
    earlier = customers_as_of(features, _day(since, table.as_of), columns=[column], engine=engine)
    found = moved(steps_between(earlier, table, column=column), was=was, now=now)
    book = consents_of_features(features, shop=shop, newer=consents, engine=engine)
    now_us = int(dt.datetime.now(dt.UTC).timestamp() * 1_000_000)
    erased = ErasedUsers() if store is None else ReleaseStore(root=store).erasures.load()
    found = found[[user not in erased for user in found[c.USER_ID]]]
    allowed = book.holding(found[c.USER_ID].to_numpy(object), purpose, now_us)
    export_rows(found[allowed], out, file_format=file_format, pseudonyms=names)
    return {
        "out": str(out),
        "column": column,
        "from": earlier.as_of.isoformat(),
        "to": table.as_of.isoformat(),
        "moved": len(found),
        "exported": int(allowed.sum()),
        "no_consent": int((~allowed).sum()),
        "moves": _shown(step_counts(found), shop.privacy.minimum_group),
    }


def _shown(counts: Any, minimum: int) -> list[dict[str, Any]]:
    """How many took each way; few are not counted out."""
    from features.privacy.small_groups import suppress_small_groups

    shown = suppress_small_groups(counts, counts="customers", minimum=minimum).frame
    sizes = [
        None if hidden else int(size)
        for size, hidden in zip(shown["customers"], shown["customers"].isna(), strict=True)
    ]
    return [
        {"was": was, "now": now, "customers": size}
        for was, now, size in zip(shown["was"], shown["now"], sizes, strict=True)
    ]


def _day(text: str, last: dt.date) -> dt.date:
    try:
        return dt.date.fromisoformat(text) if text else last - _A_WEEK
    except ValueError:
        raise ConfigError(f"--from: expected a day such as 2026-03-01, found {text!r}.") from None
