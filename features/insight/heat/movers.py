"""Movers and fallers: items and categories whose rate changed by more than chance.

Counted are customers on days (what one customer does with an item on a day counts once), in blocks of some days. A
block's count has the variance μ + α μ²: demand comes in waves, and a Poisson test would take every wave for a change.

    given both periods' sum, the later one's part is beta-binomial(sum, B / α, B / α) with B blocks a period;
    without over-dispersion (α = 0), and in the limit, binomial(sum, 1/2)

α is estimated for all rows together, by moments, and for each row from the mean of its own and the common variance,
weighted by degrees of freedom; no less than the common one. Since a few blocks tell α roughly, tails are Student's with
those degrees of freedom (docs/decisions/0030 has what this does to error rates). p-values are two-sided (twice the
smaller tail), and q is Benjamini and Hochberg's.

Source: Robinson and Smyth 2008, "Small-sample estimation of negative binomial dispersion" (the exact test); Breslow
1984 (moments); Smyth 2004 (degrees of freedom of a prior); Lund et al. 2012 (the tails); Benjamini and Hochberg 1995.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from narwhals.typing import IntoFrameT
from scipy.optimize import brentq
from scipy.special import betaln, gammaln, polygamma
from scipy.stats import binom, norm
from scipy.stats import t as student

from features import columns as c
from features.errors import ConfigError
from features.insight.by import BYS, By, frames_for, rows_sql, value_sql
from features.insight.collecting import collected
from features.insight.definitions import check_choice, check_event_types, check_whole, parsed
from features.insight.intervals import LEVEL
from features.insight.retention.periods import checked_day, of_types, place_of
from features.tables.sql import run
from features.tags.lifts import false_discovery_rates

Floats = npt.NDArray[np.floating]
_EXACT: Final = 20_000  # beyond such sums the beta-binomial is normal to more digits than anyone reads
_MOST_DISPERSION: Final = 1e3
_CUSTOMERS: Final = -1
_NO_DISPERSION: Final = 1e8  # a size beyond which the beta-binomial is the binomial, and its logarithms lose digits
# Rows of at least so many a block, and at least so many of such rows, tell how variances differ; bounds of what they tell.
_TELLING: Final = 3
_LEAST_ROWS: Final = 10
_LEAST_FREEDOM: Final = 1.0
_MOST_FREEDOM: Final = 100.0


@dataclass(frozen=True, kw_only=True)
class MoversDefinition:
    """What is compared.

    Args:
        by: item or category (the top-level one).
        event_types: what counts.
        period_days: length of each of the two periods: the last, and the one before.
        block_days: length of the blocks that tell how counts vary by themselves; whole weeks where weekdays differ.
        prior_freedom: how many degrees of freedom the variance of all rows has beside each row's own; left out, as many
            as the rows' variances tell: many where they differ by luck alone, few where rows differ in truth.
        relative: against the change of all rows together, so that a quiet season makes no fallers.
        min_count: rows with fewer in both periods together are left out before the test.
        level: the false discovery rate at which a row is a mover or a faller.
    """

    by: By = "item"
    event_types: tuple[str, ...] = (c.PURCHASE,)
    period_days: int = 28
    block_days: int = 7
    prior_freedom: int | None = None
    relative: bool = True
    min_count: int = 10
    level: float = 0.05

    def __post_init__(self) -> None:
        check_choice("by", self.by, BYS)
        check_event_types("event_types", self.event_types, some=True)
        check_whole("block_days", self.block_days, least=1)
        check_whole("period_days", self.period_days, least=2 * self.block_days)
        if self.period_days % self.block_days:
            raise ConfigError(
                f"period_days: expected whole blocks of {self.block_days} days, found {self.period_days} days."
            )
        if self.prior_freedom is not None:
            check_whole("prior_freedom", self.prior_freedom, least=0)
        check_whole("min_count", self.min_count, least=1)
        if not isinstance(self.level, float) or not 0 < self.level < 1:
            raise ConfigError(f"level: expected a share between 0 and 1, found {self.level!r}.")

    @classmethod
    def parse(cls, mapping: object, *, where: str) -> MoversDefinition:
        """Read a definition from a YAML mapping.

        Raises:
            ConfigError: a name is unknown or a value does not fit; the message begins with ``where``.
        """
        return parsed(cls, mapping, where=where)

    @property
    def num_blocks(self) -> int:
        """Blocks in a period."""
        return self.period_days // self.block_days


def block_counts(
    events: IntoFrameT, definition: MoversDefinition, *, as_of: dt.date, items: IntoFrameT | None = None
) -> IntoFrameT:
    """Return how many customers on how many days there were of each row and block.

    Args:
        events: rows of the event log: user_id, event_type, local_day, item_id.
        definition: what is counted.
        as_of: the last local day of the later period.
        items: item_id and category, for categories.

    Returns:
        value, block (0 the last), number: of customers on days; and under block -1 the number of customers in all.
    """
    last = place_of("day", checked_day("as_of", as_of))
    age = f"{last} - unix_date({c.LOCAL_DAY})"
    within = f"{age} >= 0 AND {age} < {2 * definition.period_days}"
    text = f"""
        WITH once AS (
            SELECT DISTINCT user_id, {value_sql(definition.by)} AS value, {age} AS age
            {rows_sql(definition.by, f"{of_types(definition.event_types)} AND {within}")}
        ),
        blocks AS (SELECT value, CAST(floor(age / {definition.block_days}) AS INT) AS block FROM once)
        SELECT value, block, CAST(count(*) AS BIGINT) AS number FROM blocks GROUP BY value, block
        UNION ALL
        SELECT value, {_CUSTOMERS} AS block, CAST(count(DISTINCT user_id) AS BIGINT) AS number FROM once GROUP BY value
    """
    return run(text, **frames_for(definition.by, events, items))


def movers(events: Any, definition: MoversDefinition, *, as_of: dt.date, items: Any = None) -> pd.DataFrame:
    """Return the rows with their change between two periods, the surest first.

    Args:
        events: as of ``block_counts``, of any engine.
        definition: what is compared.
        as_of: the last local day of the later period: the last whole day of the log.
        items: item_id and category, of the same engine, for categories.

    Returns:
        value, num_customers, before and now (customers on days), change (now / before, over that of all rows where ``relative``; by
        half a count more on either side, so that a row that is new has one), low, high (95%, of the log, Student's),
        dispersion (α), p, q and verdict (``mover``, ``faller`` or blank).
    """
    wide = collected(block_counts(events, definition, as_of=as_of, items=items)).pivot_table(
        index="value", columns="block", values="number", aggfunc="sum"
    )
    table = tested(wide.reindex(columns=range(2 * definition.num_blocks)).fillna(0), definition)
    customers = wide.reindex(columns=[_CUSTOMERS])[_CUSTOMERS].reindex(table["value"])
    table.insert(1, "num_customers", customers.to_numpy(np.int64))
    return table


def tested(counts: pd.DataFrame, definition: MoversDefinition) -> pd.DataFrame:
    """Return ``movers`` of counts.

    Args:
        counts: a row a value (the index), a column a block, the last first.
        definition: what is compared.
    """
    blocks = counts.to_numpy(np.float64)
    shift = _shift(blocks, definition)
    kept = blocks.sum(axis=1) >= definition.min_count
    blocks = blocks[kept].reshape(-1, 2, definition.num_blocks)  # [V, now and before, B]
    sums = blocks.sum(axis=2)
    prior = prior_freedom(blocks) if definition.prior_freedom is None else float(definition.prior_freedom)
    alpha = dispersions(blocks, prior=prior)
    table = pd.DataFrame({"value": counts.index[kept], "before": sums[:, 1], "now": sums[:, 0]})
    table = table.astype({"before": np.int64, "now": np.int64})
    log_change = np.log((sums[:, 0] + 0.5) / (sums[:, 1] + 0.5)) - np.log(shift)
    spread = np.sqrt((1 / (sums + 0.5)).sum(axis=1) + 2 * alpha / definition.num_blocks)
    table["change"] = np.exp(log_change)
    freedom = 2 * (definition.num_blocks - 1) + prior
    reach = float(student.ppf(0.5 + LEVEL / 2, freedom)) * spread
    table["low"], table["high"] = np.exp(log_change - reach), np.exp(log_change + reach)
    table["dispersion"] = alpha
    exact = [
        p_value(int(now), int(before), size=_size(definition.num_blocks, one), odds=shift)
        for (now, before), one in zip(sums, alpha, strict=True)
    ]
    # As far out in Student's law as the exact p is in the normal one.
    table["p"] = np.minimum(2 * student.sf(norm.isf(np.array(exact, np.float64) / 2), freedom), 1.0)
    table["q"] = false_discovery_rates(table["p"].to_numpy(np.float64))
    sure = table["q"] <= definition.level
    table["verdict"] = np.select([sure & (table["change"] > 1), sure & (table["change"] < 1)], ["mover", "faller"], "")
    return table.sort_values(["p", "value"], ignore_index=True)


def _shift(blocks: Floats, definition: MoversDefinition) -> float:
    """Return the change of all rows together, 1 where it is not taken out or cannot be known."""
    now, before = blocks[:, : definition.num_blocks].sum(), blocks[:, definition.num_blocks :].sum()
    return float(now / before) if definition.relative and now > 0 and before > 0 else 1.0


def _size(num_blocks: int, alpha: float) -> float:
    return num_blocks / alpha if alpha > 0 else float("inf")


def prior_freedom(blocks: Floats) -> float:
    """Return how many degrees of freedom what all rows have in common is worth beside a row's own variance.

    The log of a variance varies by trigamma(d / 2) of its own d degrees of freedom; what it varies beyond that between
    rows is trigamma(prior / 2).

    Args:
        blocks: counts ``[V, 2, B]``.

    Source: Smyth 2004, section 6.2.
    """
    mean = blocks.mean(axis=2)
    told = (mean >= _TELLING).all(axis=1)  # the variance of a row with few counts jumps with each of them
    own = 2 * (blocks.shape[2] - 1)
    if told.sum() < _LEAST_ROWS:
        return float(own)
    squares = ((blocks - mean[:, :, None]) ** 2).sum(axis=2)
    common = _common(mean, squares, blocks.shape[2] - 1)
    expected = (mean + common * mean**2).mean(axis=1)
    found = np.log(np.maximum(squares.sum(axis=1), 0.5) / own / expected)[told]
    beyond = float(found.var(ddof=1) - polygamma(1, own / 2))
    if beyond <= polygamma(1, _MOST_FREEDOM / 2):
        return _MOST_FREEDOM
    if beyond >= polygamma(1, _LEAST_FREEDOM / 2):
        return _LEAST_FREEDOM
    return float(brentq(lambda freedom: polygamma(1, freedom / 2) - beyond, _LEAST_FREEDOM, _MOST_FREEDOM))


def dispersions(blocks: Floats, *, prior: float) -> Floats:
    """Return the over-dispersion α of each row, ``[V]``: a block's variance is μ + α μ².

    Args:
        blocks: counts ``[V, 2, B]``; the two periods may differ in their mean.
        prior: degrees of freedom of what all rows have in common.
    """
    if not len(blocks):
        return np.zeros(0)
    mean = blocks.mean(axis=2)  # [V, 2]
    squares = ((blocks - mean[:, :, None]) ** 2).sum(axis=2)  # [V, 2]
    freedom = blocks.shape[2] - 1
    common = _common(mean, squares, freedom)
    own_and_common = squares.sum(axis=1) + prior * (mean + common * mean**2).mean(axis=1)
    variance = own_and_common / (2 * freedom + prior)
    return np.maximum((variance - mean.mean(axis=1)) / (mean**2).mean(axis=1), common)


def _common(mean: Floats, squares: Floats, freedom: int) -> float:
    """Return the α at which squares are, in the mean, what they are expected to be."""
    seen = mean > 0
    mu, found = mean[seen], squares[seen]

    def excess(alpha: float) -> float:
        return float((found / (mu + alpha * mu**2)).sum() - freedom * seen.sum())

    if excess(0.0) <= 0:
        return 0.0
    return float(brentq(excess, 0.0, _MOST_DISPERSION)) if excess(_MOST_DISPERSION) < 0 else _MOST_DISPERSION


def p_value(now: int, before: int, *, size: float, odds: float = 1.0) -> float:
    """Return the two-sided p-value of two counts under one rate.

    Args:
        now: count of the later period.
        before: count of the earlier one.
        size: blocks of a period over α; infinite without over-dispersion.
        odds: what now / before would be without a change.
    """
    total, share = now + before, odds / (1 + odds)
    if total == 0:
        return 1.0
    if size > _NO_DISPERSION:
        lower, upper = binom.cdf(now, total, share), binom.sf(now - 1, total, share)
    elif total > _EXACT:
        a, b = 2 * size * share, 2 * size * (1 - share)
        spread = np.sqrt(total * share * (1 - share) * (a + b + total) / (a + b + 1))
        lower, upper = (norm.cdf((now + 0.5 - total * share) / spread), norm.sf((now - 0.5 - total * share) / spread))
    else:
        lower, upper = _tails(now, total, 2 * size * share, 2 * size * (1 - share))
    return float(min(1.0, 2 * min(lower, upper)))


def _tails(now: int, total: int, a: float, b: float) -> tuple[float, float]:
    """Return the chances of at most, and at least, ``now`` under the beta-binomial."""
    k = np.arange(total + 1)
    log_chance = (
        gammaln(total + 1) - gammaln(k + 1) - gammaln(total - k + 1) + betaln(k + a, total - k + b) - betaln(a, b)
    )
    chance = np.exp(log_chance)
    return float(chance[: now + 1].sum()), float(chance[now:].sum())
