"""Audiences of a release: listed, paged, and rules over the customer table counted."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import narwhals as nw
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from features import columns as c
from features.errors import ConfigError, did_you_mean
from features.rules.comparisons import passes
from features.rules.conditions import AllOf, AnyOf, ColumnTest, Condition, Not, Test, is_behavioural, leaves
from features.rules.parse import Columns, RuleParser
from features.rules.place import Place
from serving.api.customer_schemas import AudienceSummary
from serving.api.errors import RequestError
from serving.customers.book import CustomerBook
from serving.customers.tags import TagBook

Flags = npt.NDArray[np.bool_]
TAGS_COLUMN: Final = "tags"
_MOST_CONDITIONS: Final = 100


@dataclass(frozen=True, kw_only=True, eq=False)
class AudienceBook:
    """Members of each audience, as evaluated when the part was made.

    Args:
        about: what the part's rules file says of each audience, by name.
        members: ids by audience, sorted.
        until_us: when each member's rule lapses, by audience; the greatest number for never.
        minimum: the fewest customers that are counted out.
    """

    about: Mapping[str, Mapping[str, Any]]
    members: Mapping[str, pa.StringArray]
    until_us: Mapping[str, npt.NDArray[np.int64]]
    minimum: int

    @classmethod
    def load(cls, path: Path, about: Mapping[str, Any]) -> AudienceBook:
        """Read an audiences file, and what the rules file says of it."""
        table = pq.read_table(path, columns=["audience", c.USER_ID, "until"])
        names = table["audience"].to_numpy()
        first = np.flatnonzero(np.concatenate([[True], names[1:] != names[:-1]])) if len(names) else np.zeros(0, int)
        ids = pa.concat_arrays(table[c.USER_ID].cast(pa.string()).chunks or [pa.array([], pa.string())])
        until = table["until"].cast(pa.timestamp("us", "UTC")).cast(pa.int64())
        until_us = until.fill_null(np.iinfo(np.int64).max).to_numpy()
        ends = [*first[1:].tolist(), len(names)]
        spans = {str(names[at]): slice(int(at), end) for at, end in zip(first, ends, strict=True)}
        listed = [*about["audiences"], *about["audiences_with_parameters"]]
        return cls(
            about={one["name"]: one for one in listed},
            members={name: ids[span] for name, span in spans.items()},
            until_us={name: until_us[span] for name, span in spans.items()},
            minimum=int(about["minimum_group"]),
        )

    def summaries(self) -> list[AudienceSummary]:
        """Return all audiences."""
        return [self.summary(name) for name in self.about]

    def summary(self, name: str) -> AudienceSummary:
        """Return one audience.

        Raises:
            RequestError: there is none of this name.
        """
        if name not in self.about:
            hint = did_you_mean(name, self.about) or " GET /v1/audiences lists them."
            raise RequestError(404, "unknown_audience", f"No audience is called {name!r}.{hint}")
        one = self.about[name]
        size = one.get("size")
        small = size is not None and 0 < size < self.minimum
        parameters = list(one.get("parameters", ()))
        note = f"It asks for {', '.join(parameters)}: `footfall audiences` on the command line takes them."
        return AudienceSummary(
            name=name,
            title=one["title"],
            description=one["description"],
            rule=one.get("rule", ""),
            version=one.get("version", ""),
            size=None if small else size,
            note=_fewer(self.minimum) if small else note if parameters else "",
            parameters=parameters,
        )

    def page(
        self,
        name: str,
        *,
        limit: int,
        after: str | None,
        now_us: int,
        may_see: Callable[[Sequence[str]], set[str]],
    ) -> tuple[list[str], str | None]:
        """Return members behind an id in their order, and what the next page comes after.

        Args:
            name: of the audience.
            limit: the most to return.
            after: the last id of the page before.
            now_us: members whose rule has lapsed by now are left out.
            may_see: which of several ids may be returned.

        Raises:
            RequestError: there is no such audience, or it asks for parameters.
        """
        if self.summary(name).parameters:
            raise RequestError(422, "parameters_needed", f"{name}: {self.summary(name).note}")
        ids, until = self.members.get(name, pa.array([], pa.string())), self.until_us.get(name, np.zeros(0, np.int64))
        at = 0 if after is None else bisect.bisect_right(ids, after, key=lambda one: one.as_py())
        found: list[str] = []
        while at < len(ids) and len(found) < limit:
            end = min(len(ids), at + limit - len(found))
            chunk = [id_ for id_, lapses in zip(ids[at:end].to_pylist(), until[at:end], strict=True) if lapses > now_us]
            allowed = may_see(chunk)
            found += [id_ for id_ in chunk if id_ in allowed]
            at = end
        return found, ids[at - 1].as_py() if 0 < at < len(ids) else None


@dataclass(frozen=True, kw_only=True, eq=False)
class RuleCounter:
    """Counts the customers of a rule over the customer table and the tags.

    Args:
        book: the customer table.
        tags: who carries which.
        columns: how the table's columns are compared.
        minor_units: of the currency.
        minimum: the fewest customers that are counted out.
    """

    book: CustomerBook
    tags: TagBook
    columns: Columns
    minor_units: int
    minimum: int

    def parse(self, rule: Mapping[str, Any]) -> Condition:
        """Return a rule's condition.

        Raises:
            RequestError: it is none, is too long, or asks for events, which a release does not hold.
        """
        parser = RuleParser(minor_units=self.minor_units, columns={**self.columns, TAGS_COLUMN: "texts"})
        try:
            condition = parser.condition(dict(rule), Place(file="rule"))
        except (ConfigError, RecursionError) as error:
            raise RequestError(422, "invalid_rule", str(error) or "rule: nested too deep.") from None
        if is_behavioural(condition):
            raise RequestError(
                422,
                "events_not_at_hand",
                "rule: expected conditions on columns and tags, found one on events or orders, which are counted where "
                "the log is. Save the rule under a name in the shop's audiences.yaml and build the features again, or "
                "ask `footfall audiences preview`.",
            )
        number = sum(1 for _ in leaves(condition))
        if number > _MOST_CONDITIONS:
            raise RequestError(
                422, "invalid_rule", f"rule: expected at most {_MOST_CONDITIONS} conditions, found {number}."
            )
        return condition

    def mask(self, condition: Condition, *, now_us: int) -> Flags:
        """Return whom a condition is true of, bool by row of the customer table."""
        if isinstance(condition, AllOf | AnyOf):
            parts = [self.mask(part, now_us=now_us) for part in condition.parts]
            return np.logical_and.reduce(parts) if isinstance(condition, AllOf) else np.logical_or.reduce(parts)
        if isinstance(condition, Not):
            return ~self.mask(condition.part, now_us=now_us)
        assert isinstance(condition, ColumnTest), "parse lets no other leaf through"
        if condition.column == TAGS_COLUMN:
            parts = [self._tagged(test, now_us) for test in condition.tests]
        else:
            parts = [self._passing(condition.column, test) for test in condition.tests]
        return np.logical_and.reduce(parts)

    def counted(self, size: int, of: int) -> tuple[int | None, str]:
        """Return a size that may be shown, and what a reader must know: few inside, or outside, would be named."""
        if 0 < size < self.minimum or 0 < of - size < self.minimum:
            return None, _fewer(self.minimum) + ("" if 0 < size < self.minimum else " outside it")
        return size, ""

    def _passing(self, column: str, test: Test) -> Flags:
        frame = nw.from_native(self.book.rows.select([column]), eager_only=True)
        found = frame.select(passes(column, test, self.columns[column], as_of=self.book.day).alias("passes"))
        return found["passes"].to_numpy() == 1

    def _tagged(self, test: Test, now_us: int) -> Flags:
        if test.operator == "missing":
            names = self.tags.names_of(self.book.users.ids.tolist(), now_us=now_us)
            none: Flags = np.fromiter((not of_one for of_one in names), np.bool_, len(names))
            return none if test.value else ~none
        if test.value not in self.tags.names:
            hint = did_you_mean(str(test.value), self.tags.names) or f" There are {', '.join(self.tags.names)}."
            raise RequestError(422, "unknown_tag", f"rule: nobody carries a tag {test.value!r}.{hint}")
        return self.tags.carriers(str(test.value), self.book.users, now_us=now_us)


def _fewer(minimum: int) -> str:
    return f"fewer than {minimum} customers (privacy.minimum_group)"
