"""From a condition to the spells in which it holds: the one evaluation path of every batch.

    AllOf(EventTest, Not(OpenTest))  ->  spells of each leaf  ->  one sweep over their ends  ->  spells of the rule

A column of the customer table is known as of one instant only: its condition holds from then on, and nobody knows
until when.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import narwhals as nw

from features import columns as c
from features.rules.comparisons import passes
from features.rules.conditions import (
    AllOf,
    AnyOf,
    ColumnTest,
    Condition,
    EventTest,
    Leaf,
    Not,
    OpenTest,
    OrderTest,
    negations_inside,
)
from features.rules.contributions import THING, WEIGHT, contributions, share_contributions
from features.rules.known_fields import Nature
from features.rules.rows import AT_US
from features.rules.spells import (
    END_US,
    FOREVER,
    START_US,
    Frame,
    all_of,
    any_of,
    at_instant,
    beginnings,
    changes_of,
    none_of,
    spells,
    stacked,
)

BY_USER = (c.USER_ID,)
BY_USER_AND_ITEM = (c.USER_ID, c.ITEM_ID)


@dataclass(frozen=True, kw_only=True, eq=False)
class Compiler:
    """Evaluates conditions over one log at one instant.

    Args:
        rows: from ``rule_rows``.
        customers: the customer table's columns, one row a user; nothing where no condition names one.
        as_of_us: the instant, UTC microseconds.
        as_of: its local day.
        by: what a condition is true of: ``BY_USER``, or ``BY_USER_AND_ITEM`` (its events are then those of the item).
        natures: of the customer table's columns.
    """

    rows: Frame
    customers: Frame | None
    as_of_us: int
    as_of: dt.date
    by: Sequence[str] = BY_USER
    natures: Mapping[str, Nature | None] | None = None

    def holding(self, condition: Condition) -> Frame:
        """Return whom the condition is true of at the instant: the key's columns, start_us, end_us."""
        return at_instant(self.spells(condition), self.as_of_us)

    def spells(self, condition: Condition) -> Frame:
        """Return when the condition holds, as far as the log up to the instant tells."""
        return self._of(negations_inside(condition), self.universe())

    def universe(self) -> Frame:
        """Return every key that the log knows, with the instant of its first event as start_us."""
        rows = self.rows.filter(~nw.col(c.ITEM_ID).is_null()) if c.ITEM_ID in self.by else self.rows
        return rows.group_by(*self.by).agg(nw.col(AT_US).min().alias(START_US))

    def _of(self, condition: Condition, universe: Frame) -> Frame:
        if isinstance(condition, AllOf):
            return all_of([self._of(part, universe) for part in condition.parts], self.by)
        if isinstance(condition, AnyOf):
            return any_of([self._of(part, universe) for part in condition.parts], self.by)
        if isinstance(condition, Not):
            assert not isinstance(condition.part, AllOf | AnyOf | Not)  # negations_inside has moved it to a leaf
            return self._of_leaf(condition.part, universe, negated=True)
        return self._of_leaf(condition, universe, negated=False)

    def _of_leaf(self, leaf: Leaf, universe: Frame, *, negated: bool) -> Frame:
        if isinstance(leaf, ColumnTest):
            return self._of_column(leaf, universe, negated=negated)
        found = self._of_level(leaf, universe)
        return none_of(found, universe, self.by) if negated else found

    def _of_column(self, leaf: ColumnTest, universe: Frame, *, negated: bool) -> Frame:
        passed = nw.lit(1)
        for test in leaf.tests:
            passed = passed * passes(leaf.column, test, (self.natures or {}).get(leaf.column), as_of=self.as_of)
        assert self.customers is not None, f"no customer table for {leaf.column}"
        chosen = self.customers.filter(passed == (0 if negated else 1)).select(c.USER_ID)
        keys = universe.select(*self.by).join(chosen, on=c.USER_ID, how="inner")
        return keys.with_columns(
            nw.lit(self.as_of_us).cast(nw.Int64).alias(START_US), nw.lit(FOREVER).cast(nw.Int64).alias(END_US)
        )

    def _of_level(self, leaf: EventTest | OpenTest | OrderTest, universe: Frame) -> Frame:
        changes = self.level_changes(leaf)
        if leaf.at_least is None or leaf.at_least == 0:  # holds of those, too, who did nothing
            changes = stacked([changes, beginnings(universe, self.by, 0)])
        found = spells(changes, self.by, low=leaf.at_least, high=leaf.at_most)
        if not isinstance(leaf, EventTest) or leaf.share_at_least is None:
            return found
        weights = changes_of(share_contributions(leaf, self.rows, self.by), self.by, nw.col(WEIGHT))
        return all_of([found, spells(weights, self.by, low=0, high=None)], self.by)

    def level_changes(self, leaf: EventTest | OpenTest | OrderTest) -> Frame:
        """Return how a leaf's level changes: the key's columns, at_us, change."""
        added = contributions(leaf, self.rows, self.by)
        if isinstance(leaf, EventTest) and leaf.distinct:
            # A thing counts once while any of its events counts.
            things = (*self.by, THING)
            return changes_of(spells(changes_of(added, things), things, low=1, high=None), self.by)
        return changes_of(added, self.by, nw.col(WEIGHT))

    def evidence(self, leaf: EventTest | OpenTest | OrderTest) -> Frame:
        """Return what makes up a leaf's level at the instant.

        Returns:
            the key's columns, level, num_events, first_us, last_us (of these events), last_item_id; no row where
            nothing counts.
        """
        added = at_instant(contributions(leaf, self.rows, self.by), self.as_of_us)
        level = nw.col(WEIGHT).sum()
        if isinstance(leaf, EventTest) and leaf.distinct:
            level = nw.col(THING).n_unique()
        facts = added.group_by(*self.by).agg(
            level.alias("level"), nw.len().alias("num_events"),
            nw.col(AT_US).min().alias("first_us"), nw.col(AT_US).max().alias("last_us"),
        )  # fmt: skip
        named = added.select(*dict.fromkeys((*self.by, AT_US, c.ITEM_ID)))
        if c.ITEM_ID in self.by:
            last = facts.with_columns(nw.col(c.ITEM_ID).alias("last_item_id"))
        else:
            latest = facts.select(*self.by, "last_us").join(named, on=list(self.by), how="inner")
            latest = latest.filter(nw.col(AT_US) == nw.col("last_us"))
            last_item = latest.group_by(*self.by).agg(nw.col(c.ITEM_ID).min().alias("last_item_id"))
            last = facts.join(last_item, on=list(self.by), how="left")
        whole = (nw.col(name).cast(nw.Int64) for name in ("level", "num_events"))
        return last.with_columns(*whole).select(*self.by, "level", "num_events", "first_us", "last_us", "last_item_id")
