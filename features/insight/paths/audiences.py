"""Two audiences side by side: who belongs to which."""

from __future__ import annotations

from typing import Any, TypeVar, cast

import narwhals as nw

from features import columns as c
from features.errors import ConfigError, DataError
from features.insight.collecting import collected
from features.insight.paths.steps import AUDIENCE
from features.tables.expressions import frame_of

FrameT = TypeVar("FrameT")


def two_audiences(first: FrameT, second: FrameT, *, names: tuple[str, str] = ("first", "second")) -> FrameT:
    """Return who belongs to which of two sets of customers.

    Args:
        first: a frame with ``user_id``.
        second: the same, of the same engine.
        names: of the two.

    Returns:
        user_id, audience.

    Raises:
        ConfigError: both have one name.
        DataError: one is empty, or a customer is in both, so that their figures would not be independent.
    """
    if names[0] == names[1]:
        raise ConfigError(f"audiences: expected two names, found {names[0]!r} twice.")
    parts = [
        frame_of(one).select(c.USER_ID).unique().with_columns(nw.lit(name).alias(AUDIENCE))
        for one, name in zip((first, second), names, strict=True)
    ]
    _check(nw.concat(parts), names)
    return cast(FrameT, nw.concat(parts).to_native())


def audiences_by(users: FrameT, column: str, first: str, second: str) -> FrameT:
    """Return the customers of two values of a column of the customer table, such as two segments.

    Args:
        users: a frame with ``user_id`` and ``column``, one row a customer.
        column: such as ``lifecycle``.
        first: one value.
        second: another.

    Returns:
        user_id, audience (the value).

    Raises:
        DataError: no customer has one of the values, or one has both.
    """
    rows = frame_of(users)
    parts = [rows.filter(nw.col(column).cast(nw.String) == value).to_native() for value in (first, second)]
    return cast(FrameT, two_audiences(parts[0], parts[1], names=(first, second)))


def _check(members: nw.LazyFrame[Any], names: tuple[str, str]) -> None:
    sizes = collected(members.group_by(AUDIENCE).agg(nw.len().alias("n")).to_native()).set_index(AUDIENCE)["n"]
    for name in names:
        if name not in sizes:
            raise DataError(f"audiences: expected customers in {name!r}, found none.")
    twice = members.group_by(c.USER_ID).agg(nw.len().alias("n")).filter(nw.col("n") > 1)
    both = int(collected(twice.select(nw.len().alias("n")).to_native())["n"].iloc[0])
    if both:
        raise DataError(
            f"audiences: expected each customer in one of {names[0]!r} and {names[1]!r}, found {both} in both; "
            "take them out of one."
        )
