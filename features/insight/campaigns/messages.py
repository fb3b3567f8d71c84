"""What became of a campaign's messages: sent, delivered, opened, clicked, bought.

A message is what a campaign sent to a customer by a medium, however often. Stages are nested: who clicked opened, who
opened got it, and who got it was sent to, also where the log lacks the earlier event (mail programs hide openings, and
some media report no delivery).

    sent          a message_sent, or any later event
    delivered     a message_delivered, or any later event; of a campaign and medium that report no delivery at all,
                  all that did not bounce
    opened        a message_opened or a click
    clicked       a message_clicked
    bought        a purchase from the first click on, within some days
    bounced       a message_bounced and nothing of what comes after a delivery
    unsubscribed  a message_unsubscribed

A purchase counts for each message that was clicked before it: it says what came after, not what the message caused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

import pandas as pd

from features import columns as c
from features.insight.campaigns.outcomes import AMOUNT
from features.insight.definitions import check_whole
from features.insight.inputs import Period
from features.insight.intervals import LEVEL, ratio, wilson
from features.tables.sql import run

NO_NAME: Final = "(none)"  # of messages without a campaign or medium
WITHIN_DAYS: Final = 7
STAGES: Final = ("sent", "delivered", "opened", "clicked", "bought")
SIDES: Final = {"bounced": "sent", "unsubscribed": "delivered"}  # each beside the stage that it is a share of
_DAY_US: Final = 86_400_000_000
_KINDS: Final = ("sent", "delivered", "opened", "clicked", "bounced", "unsubscribed")

FrameT = TypeVar("FrameT")

# One row a message.
MESSAGES: Final = f"""
    SELECT *, greatest(delivered, opened) AS seen, greatest(bounced - delivered, 0) AS returned
    FROM (
        SELECT coalesce({c.CAMPAIGN_ID}, '{NO_NAME}') AS {c.CAMPAIGN_ID}, coalesce(medium, '{NO_NAME}') AS medium,
            {c.USER_ID}, clicked, bounced, unsubscribed, greatest(opened, clicked) AS opened,
            greatest(delivered, opened, clicked) AS delivered, told, num_sent, clicked_us, began
        FROM (
            SELECT {c.CAMPAIGN_ID}, medium, {c.USER_ID},
                {
    ", ".join(f"max(CASE WHEN {c.EVENT_TYPE} = 'message_{kind}' THEN 1 ELSE 0 END) AS {kind}" for kind in _KINDS)
},
                max(CASE WHEN {c.EVENT_TYPE} = 'message_delivered' THEN 1 ELSE 0 END) AS told,
                sum(CASE WHEN {c.EVENT_TYPE} = 'message_sent' THEN 1 ELSE 0 END) AS num_sent,
                min(CASE WHEN {c.EVENT_TYPE} = 'message_clicked' THEN unix_micros({c.TS}) END) AS clicked_us,
                min({c.LOCAL_DAY}) AS began
            FROM {{events}} WHERE {c.EVENT_TYPE} IN ({", ".join(f"'message_{kind}'" for kind in _KINDS)})
            GROUP BY 1, 2, 3
        )
    )
"""


def reached(period: Period | None) -> str:
    """Return the query of one row a message that began in a period, ``got`` says whether it was delivered.

    Of a campaign and medium that report no delivery all were that did not come back.
    """
    days = "" if period is None else f"WHERE began BETWEEN DATE '{period.first_day}' AND DATE '{period.last_day}'"
    return f"""
        SELECT *, CASE WHEN delivered = 1 OR (max(told) OVER (PARTITION BY {c.CAMPAIGN_ID}, medium) = 0 AND returned = 0)
            THEN 1 ELSE 0 END AS got
        FROM ({MESSAGES}) {days}
    """


def message_funnel(
    events: FrameT, *, within_days: int = WITHIN_DAYS, last_at_us: int | None = None, period: Period | None = None
) -> FrameT:
    """Return how many messages of each campaign and medium came how far.

    Args:
        events: rows of the event log.
        within_days: a purchase counts up to so many days after the first click.
        last_at_us: the log's last instant, UTC microseconds: clicks whose days were not over by then, and that
            nothing was bought after, are counted as open. None are where it is left out.
        period: messages are counted whose first event is of these days, whenever they were clicked; all where left out.

    Returns:
        campaign_id, medium, sent, delivered, opened, clicked, bought, bounced, unsubscribed, open (messages),
        num_sent (times sent), revenue (minor units, of what was bought), delivery_told (0 or 1).

    Raises:
        ConfigError: ``within_days`` is below 1.
    """
    check_whole("within_days", within_days, least=1)
    span = within_days * _DAY_US
    still = (
        "0" if last_at_us is None else f"CASE WHEN bought = 0 AND clicked_us > {last_at_us - span} THEN 1 ELSE 0 END"
    )
    counts = ("got AS delivered", "opened", "clicked", "bought", "returned AS bounced", "unsubscribed")
    sums = ", ".join(f"CAST(sum({name.split(' ')[0]}) AS BIGINT) AS {name.split(' ')[-1]}" for name in counts)
    text = f"""
        WITH {_each(span, period)}
        SELECT {c.CAMPAIGN_ID}, medium, count(*) AS sent, {sums}, CAST(sum({still}) AS BIGINT) AS open,
            CAST(sum(num_sent) AS BIGINT) AS num_sent, CAST(sum(paid) AS BIGINT) AS revenue,
            CAST(max(told) AS BIGINT) AS delivery_told
        FROM each GROUP BY 1, 2
    """
    return run(text, events=events)


def _each(span: int, period: Period | None) -> str:
    """Return the queries up to ``each``: one row a message, with whether something was bought after it."""
    return f"""
        messages AS ({reached(period)}),
        clicked AS (SELECT {c.CAMPAIGN_ID}, medium, {c.USER_ID}, clicked_us FROM messages WHERE clicked = 1),
        bought AS (
            SELECT clicked.{c.CAMPAIGN_ID}, clicked.medium, clicked.{c.USER_ID}, sum(paid) AS paid
            FROM (
                SELECT {c.USER_ID}, unix_micros({c.TS}) AS at_us, {AMOUNT} AS paid
                FROM {{events}} WHERE {c.EVENT_TYPE} = '{c.PURCHASE}'
            ) AS purchases JOIN clicked ON purchases.{c.USER_ID} = clicked.{c.USER_ID}
            WHERE at_us >= clicked_us AND at_us <= clicked_us + {span}
            GROUP BY 1, 2, 3
        ),
        each AS (
            SELECT messages.*, CASE WHEN bought.paid IS NULL THEN 0 ELSE 1 END AS bought, coalesce(paid, 0) AS paid
            FROM messages LEFT JOIN bought ON messages.{c.USER_ID} = bought.{c.USER_ID}
                AND messages.{c.CAMPAIGN_ID} = bought.{c.CAMPAIGN_ID} AND messages.medium = bought.medium
        )
    """


def message_customers(
    events: FrameT, *, by: str | None = None, within_days: int = WITHIN_DAYS, period: Period | None = None
) -> FrameT:
    """Return how many customers stand behind each stage, each once however many messages it got.

    Args:
        events: rows of the event log.
        by: ``campaign_id``, ``medium``, or none (all messages together).
        within_days, period: see ``message_funnel``.

    Returns:
        the column of ``by``, then one a stage: sent, delivered, opened, clicked, bought, bounced, unsubscribed.
    """
    flags = {"sent": "1", "delivered": "got", "bounced": "returned"}
    counts = ", ".join(
        f"count(DISTINCT CASE WHEN {flags.get(stage, stage)} = 1 THEN {c.USER_ID} END) AS {stage}"
        for stage in (*STAGES, *SIDES)
    )
    names, group = ("", "") if by is None else (f"{by}, ", f"GROUP BY {by}")
    return run(f"WITH {_each(within_days * _DAY_US, period)} SELECT {names}{counts} FROM each {group}", events=events)


def message_rates(funnel: pd.DataFrame, *, by: Sequence[str] = (), level: float = LEVEL) -> pd.DataFrame:
    """Return how far messages came, as shares with Wilson's intervals.

    Args:
        funnel: from ``message_funnel``, as pandas.
        by: ``campaign_id``, ``medium``, both or none (all messages together).
        level: of the intervals.

    Returns:
        the columns of ``by``, stage (``sent`` ... ``bought``, then ``bounced``, ``unsubscribed``), count, of_stage
        (the stage it is a share of), step, step_low, step_high (share of that), overall, overall_low, overall_high
        (share of all sent).
    """
    counted = [*STAGES, *SIDES]
    sums = funnel.groupby(list(by))[counted].sum().reset_index() if by else funnel[counted].sum().to_frame().T
    parts = [_stage(sums, by, stage, level) for stage in counted]
    rows = pd.concat(parts).sort_index(kind="stable")
    return rows.reset_index(drop=True)


def _stage(sums: pd.DataFrame, by: Sequence[str], stage: str, level: float) -> pd.DataFrame:
    before = SIDES.get(stage) or STAGES[max(STAGES.index(stage) - 1, 0)]
    found = sums[list(by)].assign(stage=stage, count=sums[stage], of_stage=before)
    for name, whole in (("step", sums[before]), ("overall", sums["sent"])):
        low, high = wilson(sums[stage], whole, level=level)
        found[name], found[f"{name}_low"], found[f"{name}_high"] = ratio(sums[stage], whole), low, high
    return found
