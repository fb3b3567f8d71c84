"""Who was dealt which arm, and when: table functions, one row a user and arm.

exposures of the service     user_id, ts, campaign_id ``home_rules+draw``, variant ``strict+explore``
a tag of the users table     user_id, tag_c001
a frame of one's own         user_id, arm, assigned_at
->   user_id, arm, assigned_us
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Any, Final, TypeVar, cast

import narwhals as nw

from features import columns as c
from features.engine import sql_text
from features.errors import ConfigError, DataError, did_you_mean
from features.insight.collecting import collected
from features.insight.experiments.definition import HOLDOUT
from features.tables.sql import run

ARM: Final = "arm"
ASSIGNED_AT: Final = "assigned_at"
ASSIGNED_US: Final = "assigned_us"
NUM_ARMS: Final = "num_arms"
IN_TEST: Final = "in_test"  # the arm of all who are not held out
_COLUMN: Final = re.compile(r"\w+")
_REFUSED: Final = "{}\\+"
FrameT = TypeVar("FrameT")


def from_exposures(exposures: FrameT, *, experiment: str) -> FrameT:
    """Return the users who were shown something in an experiment; assigned at the first time in each arm.

        campaign_id       variant            experiment "draw"
        home_rules+draw   strict+explore     arm explore

    Only users who came are in it, of all arms alike, so nobody who never met the test dilutes it. What they do before they are shown
    anything cannot be its doing, and does not count.

    Args:
        exposures: user_id, ts, campaign_id, variant; several experiments are joined by ``+``.
        experiment: which one.

    Returns:
        user_id, arm, assigned_us.
    """
    name = _plain(experiment, "experiment")
    names = f"concat('+', {c.CAMPAIGN_ID}, '+')"
    return run(
        f"""
        SELECT {c.USER_ID}, {ARM}, min(at_us) AS {ASSIGNED_US}
        FROM (
            SELECT {c.USER_ID}, unix_micros({c.TS}) AS at_us,
                   split_part({c.VARIANT}, '+', CAST(length(ahead) - length(replace(ahead, '+', '')) AS INT)) AS {ARM}
            FROM (
                SELECT {c.USER_ID}, {c.TS}, {c.VARIANT},
                       substr({names}, 1, CAST(instr({names}, {sql_text(f"+{name}+")}) AS INT)) AS ahead
                FROM {{exposures}} WHERE {c.CAMPAIGN_ID} IS NOT NULL AND {c.VARIANT} IS NOT NULL
            ) parts
            WHERE ahead <> ''
        ) shown
        WHERE {ARM} <> '' GROUP BY {c.USER_ID}, {ARM}""",
        exposures=exposures,
    )


def from_holdout(exposures: FrameT) -> FrameT:
    """Return who is held out of everything and who is not: all experiments together against none.

    Args:
        exposures: as the service keeps them; those held out have ``holdout`` as experiment and variant.

    Returns:
        user_id, arm (``holdout`` or ``in_test``), assigned_us.
    """
    is_held = f"CASE WHEN {c.CAMPAIGN_ID} = {sql_text(HOLDOUT)} THEN {sql_text(HOLDOUT)} ELSE {sql_text(IN_TEST)} END"
    return run(
        f"""
        SELECT {c.USER_ID}, {ARM}, min(at_us) AS {ASSIGNED_US}
        FROM (SELECT {c.USER_ID}, unix_micros({c.TS}) AS at_us, {is_held} AS {ARM}
              FROM {{exposures}} WHERE {c.CAMPAIGN_ID} IS NOT NULL) shown
        GROUP BY {c.USER_ID}, {ARM}""",
        exposures=exposures,
    )


def from_tags(users: FrameT, *, column: str, assigned_at: dt.datetime) -> FrameT:
    """Return the users whose tag says which arm they were dealt; those without the tag are not in the test.

    Args:
        users: user_id and the tag.
        column: such as ``tag_c001``.
        assigned_at: instant from which on the arms differ, with a zone.

    Raises:
        ConfigError: there is no such column, or the instant has no zone.
    """
    if assigned_at.tzinfo is None:
        raise ConfigError(f"assigned_at: expected an instant with its zone, found {assigned_at.isoformat()}.")
    known = _columns(users)
    if column not in known or not _COLUMN.fullmatch(column):
        tags = [name for name in known if name.startswith("tag_")]
        raise ConfigError(
            f"users: expected a column {column!r}, found {', '.join(tags) or 'no tags'}.{did_you_mean(column, tags)}"
        )
    at_us = round(assigned_at.timestamp() * 1_000_000)
    return run(
        f"SELECT {c.USER_ID}, {column} AS {ARM}, CAST({at_us} AS BIGINT) AS {ASSIGNED_US} FROM {{users}} "
        f"WHERE {column} IS NOT NULL AND {column} <> ''",
        users=users,
    )


def one_arm_each(assignments: FrameT) -> FrameT:
    """Return one row a user: the arm, since when, and in how many arms the user was found.

    Args:
        assignments: user_id, arm, and assigned_us (microseconds since 1970, UTC) or assigned_at (an instant).

    Returns:
        user_id, arm, assigned_us, num_arms; the arm means something where num_arms is 1.

    Raises:
        DataError: a column is missing.
    """
    known = _columns(assignments)
    missing = [name for name in (c.USER_ID, ARM) if name not in known]
    if ASSIGNED_US not in known and ASSIGNED_AT not in known:
        missing.append(ASSIGNED_AT)
    if missing:
        raise DataError(
            f"assignments: expected a column {missing[0]!r}, found {', '.join(known)}; name them user_id, arm, assigned_at."
        )
    at_us = ASSIGNED_US if ASSIGNED_US in known else f"unix_micros({ASSIGNED_AT})"
    return run(
        f"""
        SELECT {c.USER_ID}, min({ARM}) AS {ARM}, CAST(min({at_us}) AS BIGINT) AS {ASSIGNED_US},
               count(DISTINCT {ARM}) AS {NUM_ARMS}
        FROM {{assignments}} WHERE {c.USER_ID} IS NOT NULL AND {ARM} IS NOT NULL GROUP BY {c.USER_ID}""",
        assignments=assignments,
    )


def experiments_in(exposures: Any) -> list[str]:
    """Return the names of the experiments that exposures know."""
    found = collected(
        run(
            f"SELECT DISTINCT {c.CAMPAIGN_ID} FROM {{exposures}} WHERE {c.CAMPAIGN_ID} IS NOT NULL", exposures=exposures
        )
    )
    return sorted({name for names in found[c.CAMPAIGN_ID] for name in str(names).split("+")})


def _columns(native: Any) -> list[str]:
    return nw.from_native(cast(Any, native)).collect_schema().names()


def _plain(name: str, what: str) -> str:
    if not name or any(letter in name for letter in _REFUSED):
        raise ConfigError(f"{what}: expected a name without braces, backslashes and '+', found {name!r}.")
    return name
