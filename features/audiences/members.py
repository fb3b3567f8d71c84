"""Who is in an audience: how many, which, page by page, and as a file."""

from __future__ import annotations

import logging
from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd

from features import columns as c
from features.errors import ConfigError
from features.exports import FileFormat, export_rows
from features.privacy.pseudonyms import Pseudonyms
from features.rules.conditions import Rule
from features.rules.library import LIBRARY_FILE, read_rules
from features.rules.parse import Columns
from features.rules.session import RuleSession
from features.rules.spells import FOREVER
from features.rules.words import in_words
from features.settings import ShopSettings

LIBRARY: Final = Path(__file__).parent / LIBRARY_FILE
Audience = Rule  # a saved rule: name, condition, title, description, version
logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Page:
    """Some members in the order of their ids.

    Args:
        user_ids: of this page.
        total: members of the audience.
        next_offset: where the next page begins; nothing after the last.
    """

    user_ids: tuple[str, ...]
    total: int
    next_offset: int | None


def read_audience(
    name: str,
    *,
    shop: ShopSettings,
    columns: Columns | None,
    own: Path | None = None,
    parameters: Mapping[str, str] | None = None,
) -> Audience:
    """Return an audience by name, from a shop's own file or else of the ready ones.

    Args:
        name: of the audience.
        shop: its currency.
        columns: of the customer table at hand.
        own: a YAML file with ``audiences``; only it is looked in where given.
        parameters: what ``$name`` stands for in it.

    Raises:
        ConfigError: there is no such audience, or it is not as it should be.
    """
    path = LIBRARY if own is None else own
    (rule,) = read_rules(
        path, "audiences", minor_units=shop.minor_units, columns=columns, parameters=parameters, names=[name]
    )
    return rule


def preview(session: RuleSession, audience: Audience, *, shop: ShopSettings) -> dict[str, Any]:
    """Return how large an audience is, as one JSON object.

    Fewer members than ``privacy.minimum_group`` are not counted out: size is then null, and the note says why.

    Args:
        session: the log and customer table.
        audience: whom to count.
        shop: its smallest group.
    """
    size = len(session.user_ids(audience.when))
    everyone = session.num_users()
    least = shop.privacy.minimum_group
    small = 0 < size < least
    return {
        "audience": audience.name,
        "version": audience.version,
        "rule": in_words(audience.when),
        "size": None if small else size,
        "of": everyone,
        "share": None if small or not everyone else round(size / everyone, 6),
        "note": f"fewer than {least} customers (privacy.minimum_group)" if small else "",
    }


def members(session: RuleSession, audience: Audience, *, offset: int = 0, limit: int = 1000) -> Page:
    """Return one page of members, in the order of their ids.

    Args:
        session: the log and customer table.
        audience: whose members.
        offset: how many to pass over.
        limit: the most to return.

    Raises:
        ConfigError: an offset below 0 or a limit below 1.
    """
    if offset < 0 or limit < 1:
        raise ConfigError(f"members: expected offset of 0 or more and limit of 1 or more, found {offset} and {limit}.")
    ids = session.user_ids(audience.when)
    page = tuple(ids.iloc[offset : offset + limit])
    return Page(user_ids=page, total=len(ids), next_offset=offset + limit if offset + limit < len(ids) else None)


def export(
    session: RuleSession,
    audience: Audience,
    path: Path,
    *,
    file_format: FileFormat = "parquet",
    pseudonyms: Pseudonyms | None = None,
    erased: Container[str] = (),
) -> int:
    """Write every member to one file, whole or not at all, and return how many there are.

    Columns: user_id (or pseudonym), since and until (UTC; until is missing where nothing tells).

    Args:
        session: of the purpose that the recipient serves; ``personalisation`` for whoever writes to customers.
        audience: whose members.
        path: the file.
        file_format: Parquet or CSV.
        pseudonyms: names that stand for ids; rows are then in the order of the names, which tells nothing of the ids.
        erased: who has been forgotten since the features were built, and is left out.
    """
    held = session.holders(audience)[[c.USER_ID, "start_us", "end_us"]]
    held = held[[user not in erased for user in held[c.USER_ID]]].reset_index(drop=True)
    until = held["end_us"].where(held["end_us"] < FOREVER).astype("Int64")
    frame = pd.DataFrame(
        {
            c.USER_ID: held[c.USER_ID],
            "since": pd.to_datetime(held["start_us"], unit="us", utc=True),
            "until": pd.to_datetime(until, unit="us", utc=True),
        }
    )
    export_rows(frame, path, file_format=file_format, pseudonyms=pseudonyms)
    logger.info("audience %s: %d members written to %s", audience.name, len(frame), path)
    return len(frame)
