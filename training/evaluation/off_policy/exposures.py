"""From the contract's exposures and the event log to the log of one slot, with rewards.

An exposure is rewarded if its user clicked or bought the item in the hours after it. Left out, and counted:

    too late to tell                                the log ends before the hours are over
    without an earlier event for analytics          nothing before it that consent lets us count, so no reward either
    without an earlier event for personalisation    nothing before it that a model may go by
    erased                                          the user is on the store's erasure list

What is left out depends on what was known before the exposure alone, never on what came of it.
"""

from __future__ import annotations

import logging
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd

from features import columns as c
from features.build import FeatureSet
from features.contract.tables import EXPOSURES
from features.engine import private_connection, sql_text
from features.errors import DataError, did_you_mean
from features.event_log import EventLog
from features.exposure_log import exposures_sql, is_exposure_log
from features.sequences import Sequences
from features.settings import EngineSettings
from features.vocabulary import FIRST
from training.evaluation.off_policy.bandit_log import BanditLog, check_propensities

Reward = Literal["click", "purchase"]
REWARD_EVENTS: Final[dict[Reward, str]] = {"click": c.VIEW, "purchase": c.PURCHASE}
EXPOSURES_FILE: Final = "exposures.parquet"
_HOUR_US: Final = 3_600_000_000

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Question:
    """Which exposures are asked about, and what counts as a success.

    Args:
        slot: name of the slot; may stay empty where the log has one alone.
        variant: keep one arm of an experiment; all where empty.
        experiment: whose; may stay empty where no other has a variant of that name.
        reward: ``click`` (a view of the item) or ``purchase`` of the item.
        window_hours: how long after the exposure it counts.
        from_us: first instant, UTC microseconds.
    """

    slot: str
    variant: str
    reward: Reward
    window_hours: float
    from_us: int
    experiment: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class SlotLog:
    """The usable exposures of one slot.

    Args:
        slot: its name.
        log: validated exposures ``[E]``; users are rows of ``features.sequences``.
        query: each exposure's history up to that instant, ``[E]``, none empty.
        support: distinct item codes that the slot is known to show, rising.
        set_aside: exposures left out, by reason.
        success: what a reward is, in words.
    """

    slot: str
    log: BanditLog
    query: Sequences
    support: npt.NDArray[np.int64]
    set_aside: dict[str, int]
    success: str


def read_slot(path: Path, features: FeatureSet, question: Question, *, erased: Container[str] = frozenset()) -> SlotLog:
    """Return a slot's exposures with their rewards and histories.

    Args:
        path: the exposures table (Parquet), the data directory that holds it, or the service's log of exposures.
        features: event log, sequences and ids.
        question: which exposures, and what counts as a success.
        erased: ids of users who are left out.

    Raises:
        DataError: the table is missing or breaks the contract, the slot is not named or unknown, the propensities are
            none (see ``check_propensities``), a slot shows several items at once, or nothing is left.
    """
    table = Path(path) / EXPOSURES_FILE if Path(path).is_dir() and not is_exposure_log(Path(path)) else Path(path)
    with private_connection(EngineSettings(threads=1), beside=features.directory) as connection:
        _open(connection, table)
        slot = _chosen_slot(connection, question)
        rows, same_slot = _rows(connection, features.event_log, question, slot)
    check_propensities(rows["propensity"].to_numpy(np.float64, na_value=np.nan))
    _check_one_item(rows, slot)
    users = features.users.encode(rows[c.USER_ID]).astype(np.int64) - FIRST
    history_ends = _num_events_before(features.sequences, users, rows["ts_us"].to_numpy())
    reasons = {
        "too late to tell": rows["ts_us"] + question.window_hours * _HOUR_US
        > features.event_log.last_at.timestamp() * 1e6,
        "without an earlier event for analytics": ~rows["consented"],
        "without an earlier event for personalisation": history_ends == 0,
        "erased": np.array([user in erased for user in rows[c.USER_ID]], bool),
    }
    keep, set_aside = np.ones(len(rows), bool), {}
    for reason, found in reasons.items():
        set_aside[reason] = int((keep & np.asarray(found)).sum())
        keep &= ~np.asarray(found)
    items = features.vocabulary.encode(rows[c.ITEM_ID]).astype(np.int64)
    kept = rows[keep]
    logger.info("exposures of %s: %d in, %d set aside %s", slot, len(rows), (~keep).sum(), set_aside)
    if kept.empty:
        raise DataError(f"{table}: expected usable exposures of slot {slot!r}, found none; set aside: {set_aside}.")
    return SlotLog(
        slot=slot,
        log=BanditLog.from_arrays(
            user=users[keep], item=items[keep], propensity=kept["propensity"], reward=kept["reward"]
        ),
        query=_prefixes(features.sequences, users[keep], history_ends[keep]),
        support=np.unique(items[items >= FIRST]),
        set_aside=set_aside,
        success=_in_words(question, same_slot),
    )


def _open(connection: duckdb.DuckDBPyConnection, table: Path) -> None:
    if not table.is_file() and not is_exposure_log(table):
        raise DataError(f"{table}: expected the contract's exposures table, found none; name it or its data directory.")
    source = f"SELECT * FROM read_parquet({sql_text(table)})" if table.is_file() else exposures_sql(table)
    try:
        connection.execute(f"CREATE VIEW exposures AS {source}")
        found = connection.table("exposures").columns
    except duckdb.Error as error:
        raise DataError(f"{table}: expected a Parquet file, found something else ({error}).") from None
    missing = [name for name in EXPOSURES.column_names if name not in found]
    if missing:
        raise DataError(f"{table}: expected column {missing[0]!r}, found {', '.join(found)}; import the data again.")


def _chosen_slot(connection: duckdb.DuckDBPyConnection, question: Question) -> str:
    found = connection.execute("SELECT slot, count(*), count(propensity) FROM exposures GROUP BY slot ORDER BY slot")
    slots = {str(name): f"{name} ({known:,} of {total:,} with a propensity)" for name, total, known in found.fetchall()}
    if not question.slot and len(slots) == 1:
        return next(iter(slots))
    if question.slot not in slots:
        hint = did_you_mean(question.slot, slots)
        raise DataError(
            f"slot: expected one of {'; '.join(slots.values()) or 'no slot at all'}, found {question.slot!r}.{hint}"
        )
    return question.slot


def _rows(
    connection: duckdb.DuckDBPyConnection, log: EventLog, question: Question, slot: str
) -> tuple[pd.DataFrame, bool]:
    """Return the slot's exposures with consent and reward, and whether only views from that slot count as clicks."""
    log.relation(connection, purpose=c.ANALYTICS).create_view("events")
    wanted = f"event_type = {sql_text(REWARD_EVENTS[question.reward])}"
    from_slot = f"{wanted} AND slot = {sql_text(slot)}"
    counted = connection.execute(f"SELECT count(*) FROM events WHERE {from_slot}").fetchone()
    same_slot = question.reward == "click" and counted is not None and counted[0] > 0
    variant = _of_arm(connection, question)
    frame = connection.execute(
        f"""
        WITH shown AS (
            SELECT user_id, item_id, epoch_us(ts) AS ts_us, propensity FROM exposures
            WHERE slot = {sql_text(slot)} AND epoch_us(ts) >= {question.from_us} {variant}
        ),
        rewards AS (
            SELECT user_id, item_id, epoch_us(ts) AS at_us FROM events WHERE {from_slot if same_slot else wanted}
        ),
        consents AS (SELECT user_id, min(epoch_us(ts)) AS since_us FROM events GROUP BY user_id),
        rewarded AS (
            SELECT DISTINCT user_id, item_id, ts_us FROM shown JOIN rewards USING (user_id, item_id)
            WHERE at_us >= ts_us AND at_us < ts_us + {round(question.window_hours * _HOUR_US)}
        )
        SELECT shown.*, coalesce(since_us <= shown.ts_us, false) AS consented,
               CAST(rewarded.ts_us IS NOT NULL AS DOUBLE) AS reward
        FROM shown LEFT JOIN consents USING (user_id)
        LEFT JOIN rewarded ON shown.user_id = rewarded.user_id AND shown.item_id = rewarded.item_id
             AND shown.ts_us = rewarded.ts_us
        ORDER BY shown.user_id, shown.ts_us, shown.item_id
        """
    ).df()
    return frame, same_slot


def _of_arm(connection: duckdb.DuckDBPyConnection, question: Question) -> str:
    """Return the SQL condition that an exposure is of the experiment and the variant; ``a+b`` and ``x+y`` are two of each."""
    pairs = "list_zip(string_split(campaign_id, '+'), string_split(variant, '+'))"
    test, variant = sql_text(question.experiment), sql_text(question.variant)
    if question.variant and not question.experiment:
        of_variant = f"list_filter({pairs}, lambda one: one[2] = {variant})"
        found = connection.execute(
            f"SELECT DISTINCT unnest({of_variant})[1] AS name FROM exposures WHERE campaign_id IS NOT NULL ORDER BY name"
        ).fetchall()
        names = [str(name) for (name,) in found if name is not None]
        if len(names) > 1:
            raise DataError(
                f"variant: expected one of one experiment, found {question.variant!r} in {', '.join(names)}; name the experiment."
            )
        return f"AND list_contains(string_split(variant, '+'), {variant})"
    if question.variant:
        return f"AND len(list_filter({pairs}, lambda one: one[1] = {test} AND one[2] = {variant})) > 0"
    return f"AND list_contains(string_split(campaign_id, '+'), {test})" if question.experiment else ""


def _check_one_item(rows: pd.DataFrame, slot: str) -> None:
    several = int(rows.duplicated([c.USER_ID, "ts_us"]).sum())
    if several:
        raise DataError(
            f"slot {slot!r}: expected one item for a user at an instant, found {several:,} exposures beside another; "
            "give each place of a list a slot of its own."
        )


def _num_events_before(
    sequences: Sequences, users: npt.NDArray[np.int64], ts_us: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Return how many events each user had before the instant, 0 for users without sequences, ``[E]``."""
    starts, stops = sequences.offsets[:-1].tolist(), sequences.offsets[1:].tolist()
    return np.array(
        [
            np.searchsorted(sequences.ts[starts[user] : stops[user]], at) if user >= 0 else 0
            for user, at in zip(users.tolist(), ts_us.tolist(), strict=True)
        ],
        dtype=np.int64,
    )


def _prefixes(sequences: Sequences, users: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> Sequences:
    """Return the first ``lengths`` events of each user."""
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    source = np.arange(offsets[-1]) + np.repeat(sequences.offsets[users] - offsets[:-1], lengths)
    arrays = {name: getattr(sequences, name)[source] for name in ("item", "event_type", "ts", "price_band")}
    return Sequences.from_arrays(offsets=offsets, **arrays)


def _in_words(question: Question, same_slot: bool) -> str:
    hours = f"within {question.window_hours:g} hours"
    if question.reward == "purchase":
        return f"the customer bought the shown item {hours}"
    return (
        f"the customer opened the shown item from this slot {hours}"
        if same_slot
        else (f"the customer opened the shown item {hours}, from wherever (views carry no such slot)")
    )
