"""Where a test's arms are found: exposures, or a tag of the users table; and which customer an id belongs to."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any, Final, TypeVar, cast

import narwhals as nw
import pandas as pd

from features import columns as c
from features.engine import sql_text
from features.errors import DataError, did_you_mean
from features.insight.collecting import collected
from features.insight.experiments.assignments import experiments_in, from_exposures, from_holdout, from_tags
from features.insight.experiments.definition import CONTROL, HOLDOUT, ExperimentDefinition
from features.tables.sql import run

_TAG: Final = "tag_"
FrameT = TypeVar("FrameT")


def assigned(
    definition: ExperimentDefinition, events: FrameT, *, exposures: FrameT | None = None, users: FrameT | None = None
) -> FrameT:
    """Return who was dealt which arm of a test.

    Args:
        definition: with a tag, or the name of an experiment of the exposures; ``holdout`` stands for all of them against
            who is held out.
        events: rows of the event log; say when a tagged campaign was sent.
        exposures: the contract's table, or the service's log, of customers (``as_customers``; ``Inputs.table`` has done it).
        users: the contract's table, of customers.

    Returns:
        user_id, arm, assigned_us.

    Raises:
        DataError: the table is missing, or knows no such experiment.
    """
    name = f"experiment {definition.name!r}"
    if definition.tag:
        if users is None:
            raise DataError(
                f"{name}: expected a users table with {definition.tag!r}, found none; name the data directory."
            )
        at = definition.assigned_at or first_sent(events, definition.tag)
        return from_tags(users, column=definition.tag, assigned_at=at)
    if exposures is None:
        raise DataError(f"{name}: expected exposures, found none; name the table or the store's log of them, or a tag.")
    known = experiments_in(exposures)
    if definition.name not in known:
        hint = did_you_mean(definition.name, known)
        raise DataError(
            f"{name}: expected an experiment of the exposures, found no {definition.name!r} among "
            f"{', '.join(known) or 'none at all'}.{hint}"
        )
    if definition.name == HOLDOUT:
        return from_holdout(exposures)
    return from_exposures(exposures, experiment=definition.name)


def as_customers(rows: FrameT, events: FrameT) -> FrameT:
    """Return rows with the customer in the place of an id that the log knows as one customer's; other ids stay.

    Args:
        rows: with user_id.
        events: rows of the event log; without ``source_user_id``, no id was ever resolved.
    """
    if c.SOURCE_USER_ID not in _columns(events):
        return rows
    others = ", ".join(f"r.{name}" for name in _columns(rows) if name != c.USER_ID)
    return run(
        f"""
        SELECT coalesce(m.customer, r.{c.USER_ID}) AS {c.USER_ID}, {others}
        FROM {{rows}} r LEFT JOIN (
            SELECT {c.SOURCE_USER_ID} AS id, min({c.USER_ID}) AS customer FROM {{events}}
            WHERE {c.SOURCE_USER_ID} IS NOT NULL
            GROUP BY {c.SOURCE_USER_ID} HAVING count(DISTINCT {c.USER_ID}) = 1
        ) m ON r.{c.USER_ID} = m.id""",
        rows=rows,
        events=events,
    )


def first_sent(events: object, tag: str) -> dt.datetime:
    """Return when the first message of the campaign that a tag is named after was sent.

    Raises:
        DataError: the log knows no message of that campaign.
    """
    campaign = tag.removeprefix(_TAG)
    text = f"""
        SELECT min(unix_micros({c.TS})) AS sent_us FROM {{events}}
        WHERE {c.EVENT_TYPE} = 'message_sent' AND {c.CAMPAIGN_ID} = {sql_text(campaign)}"""
    found = collected(run(text, events=events))["sent_us"].iloc[0]
    if pd.isna(found):
        raise DataError(
            f"{tag}: expected messages of campaign {campaign!r} in the log, found none; say assigned_at, the instant from "
            "which on its arms differ."
        )
    return dt.datetime.fromtimestamp(int(found) / 1e6, dt.UTC)


def tagged_tests(users: object) -> list[str]:
    """Return the tags that look like a randomised test: two values or more, one of them ``control`` or ``holdout``."""
    tags = [name for name in _columns(users) if name.startswith(_TAG) and name.isidentifier()]
    found = []
    for tag in tags:
        text = f"SELECT DISTINCT {tag} AS arm FROM {{users}} WHERE {tag} IS NOT NULL AND {tag} <> ''"
        arms = set(collected(run(text, users=users))["arm"])
        if len(arms) > 1 and arms & {CONTROL, HOLDOUT}:
            found.append(tag)
    return found


def with_tag(
    definition: ExperimentDefinition, *, exposures: object | None, users: object | None
) -> ExperimentDefinition:
    """Return the definition with the tag of its name (``c001``: ``tag_c001``) where no exposures know the test."""
    tag = f"{_TAG}{definition.name}"
    if definition.tag or users is None or tag not in _columns(users):
        return definition
    if exposures is not None and definition.name in experiments_in(exposures):
        return definition
    return replace(definition, tag=tag)


def _columns(native: object) -> list[str]:
    return nw.from_native(cast(Any, native)).collect_schema().names()
