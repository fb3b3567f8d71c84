"""The customer table on a cluster: the parts of ``features.customers``, each computed by the workers and kept as Parquet.

The driver fetches what is bounded by its nature: sums, and the buyers that models of value are fitted to, whom a hash of
their ids draws (``features.customers.value.buyers``).
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from features import columns as c
from features.customers.context import Context
from features.customers.parts import Part
from features.customers.registry import COLUMNS, PARTS
from features.customers.table import write_summary
from features.customers.workbench import BatchFunction, Frame
from features.files import staged_directory
from features.settings import ShopSettings
from features.spark.scratch import kept, read_parts, write_parts

_TYPES: Final = {pa.string(): "string", pa.int64(): "bigint", pa.float64(): "double"}
_COLUMN_TYPES: Final = {
    **_TYPES,
    pa.date32(): "date",
    pa.bool_(): "boolean",
    **{pa.list_(kind): f"array<{name}>" for kind, name in _TYPES.items()},
}
# Joined before they are kept: what is grouped by user already is not sent around again, and plans stay short.
_PARTS_A_JOB: Final = 5

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class SparkWorkbench:
    """Frames of one session; see ``features.customers.workbench.Workbench``.

    Args:
        session: from ``features.spark.session``.
        scratch: directory for what is kept, which all workers see.
    """

    session: Any
    scratch: Path

    def keep(self, name: str, frame: Frame) -> Frame:
        """Write it, so that no worker's death takes it along and plans that read it stay short."""
        return kept(frame, self.scratch / name.replace(" ", "_"))

    def read(self, path: Path) -> Frame:
        """Return the frame of a file or directory."""
        return read_parts(self.session, path)

    def from_arrow(self, table: pa.Table) -> Frame:
        """Send a small table to the workers."""
        return self.session.createDataFrame(table)

    def to_arrow(self, frame: Frame) -> pa.Table:
        """Fetch a frame."""
        return frame.toArrow()

    def mapped(
        self,
        name: str,  # noqa: ARG002 (a frame needs no table)
        frame: Frame,
        function: BatchFunction,
        schema: pa.Schema,
        *,
        order: Sequence[str] = (),
    ) -> Frame:
        """Map on the workers, which import ``features`` as the driver does."""
        rows = frame.repartition(order[0]).sortWithinPartitions(*order) if order else frame
        described = ", ".join(f"{field.name} {_TYPES[field.type]}" for field in schema)
        return rows.mapInArrow(function, described)


def build_customers(
    session: Any,
    rows: Any,
    items: Any,
    out: Path,
    *,
    data: Path | None,
    as_of: dt.date,
    shop: ShopSettings,
    scratch: Path,
    parts: Sequence[Part] = PARTS,
) -> int:
    """Write the customer table as a directory of Parquet files, sorted by user_id; return the number of customers.

    ``CustomerTable.load`` reads it; its rows are those of ``CustomerTable.build``.

    Args:
        session: from ``features.spark.session``.
        rows: the event log's rows that may serve analytics, a PySpark frame.
        items: the contract's items, a PySpark frame.
        out: the directory to write, whole or not at all.
        data: a data directory with the contract's other tables, which all workers see; or nothing.
        as_of: last local day that is looked at.
        shop: the shop's settings.
        scratch: an empty directory for what lies between two steps, which all workers see.
        parts: what to put together.
    """
    bench = SparkWorkbench(session=session, scratch=scratch)
    known = rows.filter(f"{c.LOCAL_DAY} <= DATE '{as_of}'")
    context = Context(bench=bench, rows=known, items=items, as_of=as_of, shop=shop, data=data)
    users = bench.keep("users", known.select(c.USER_ID).distinct())
    groups = (parts[start : start + _PARTS_A_JOB] for start in range(0, len(parts), _PARTS_A_JOB))
    joined = users
    for place, group in enumerate(groups):
        some = _beside(users, [part.select(context) for part in group])
        joined = _beside(joined, [bench.keep(f"parts {place}", some)])
    with staged_directory(out, replace=True) as staging:
        typed = joined.selectExpr(*map(_typed, joined.columns))
        table = read_parts(session, write_parts(typed.orderBy(c.USER_ID), staging))
        write_summary(staging, as_of, shop.lifecycle)
        number = int(table.count())
    logger.info("customers: %d, as of %s, in %d parts", number, as_of, len(parts))
    return number


def _beside(users: Frame, frames: Sequence[Frame]) -> Frame:
    for frame in frames:
        users = users.join(frame, on=c.USER_ID, how="left")
    return users


def _typed(name: str) -> str:
    quoted = f"`{name.replace('`', '``')}`"
    kind = _COLUMN_TYPES[COLUMNS[name].arrow_type] if name in COLUMNS else "string"
    return f"CAST({quoted} AS {kind}) AS {quoted}"
