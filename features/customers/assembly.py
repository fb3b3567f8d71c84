"""All parts of one context: what users' own rows say, some users after the other; then what compares them.

    range 1   rows  ->  clocks, hour counts, chances, ...   and the parts that say something of each user by itself
    range 2   rows  ->  the same, added to the tables of range 1
    all       clocks, hour counts, chances, ...  ->  scores, best hours, rates, value

Where all users are one range, or on an engine that spreads the rows by itself, everything is made of the whole at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from features.customers.context import Context
from features.customers.parts import Gathered, Part
from features.customers.workbench import DuckWorkbench, Frame


def kept_name(part: str) -> str:
    """Return the name that a part's frame is kept by."""
    return f"part {part}"


def assemble(context: Context, parts: Sequence[Part]) -> dict[str, Frame]:
    """Return each part's frame by its name, kept; gathered tables and parts that ``context`` has already stay."""
    return {part.name: context.once(kept_name(part.name), partial(part.select, context)) for part in parts}


def gather(context: Context, parts: Sequence[Part], ranges: Iterable[Frame]) -> None:
    """Make what users' own rows say, some users after the other, and keep it in ``context``.

    Args:
        context: of all users, on DuckDB.
        parts: that will be put together.
        ranges: rows of some users each; each user in one of them.
    """
    bench = context.bench
    assert isinstance(bench, DuckWorkbench)
    tables = {table.name: table for part in parts for table in part.gathers}
    tables |= {
        kept_name(part.name): Gathered(name=kept_name(part.name), make=part.select) for part in parts if part.by_user
    }
    for rows in ranges:
        some = DuckWorkbench(connection=bench.connection, threads=bench.threads, prefix="some ")
        of_some = Context(
            bench=some,
            rows=rows,
            items=context.items,
            as_of=context.as_of,
            shop=context.shop,
            data=context.data,
            whole=context,
        )
        for table in tables.values():
            bench.append(table.name, table.make(of_some))
        some.clear()
    for name in tables:
        context.put(name, bench.table(name))
