"""Association rules: how much more often things are bought together than if they had nothing to do with each other."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control, hypergeom

from features.insight.baskets import orders
from features.insight.baskets.definition import BasketDefinition
from features.insight.collecting import collected
from features.insight.intervals import Z

_MOST_PAIRS: Final = 2_000  # the surest, from which bundles are grown


def basket_rules(events: Any, items: Any, definition: BasketDefinition) -> tuple[pd.DataFrame, pd.DataFrame, int]:
    """Return rules between two things, bundles of three, and how many orders they are counted in.

    Args:
        events: rows of the log, of any engine.
        items: the contract's items.
        definition: what is paired.

    Bundles are grown from the 2,000 surest pairs.

    Returns:
        Rules, both ways, from the surest lift on: if, then, orders, customers, support (share of all orders),
        confidence (share of the orders with ``if`` that have ``then``), lift, lift_low and lift_high (95%), chance
        (of so many orders together if things had nothing to do with each other, Fisher's exact test), adjusted_chance
        (Benjamini and Hochberg), is_listed (by ``definition.false_share``). Bundles: thing_a, thing_b, thing_c,
        orders, customers, support, lift (over all three at random).
    """
    held = orders.lines(events, items, definition)
    total = int(collected(orders.num_orders(events, items, definition))["orders"].iloc[0])
    alone = collected(orders.singles(held)).set_index("thing")["orders"]
    found = collected(orders.pairs(held, min_orders=definition.min_orders))
    rules = _rules(found, alone, total, definition)
    listed = rules[rules["is_listed"] & (rules["lift_low"] > 1) & (rules["if"] < rules["then"])]
    kept = listed[:_MOST_PAIRS][["if", "then"]].set_axis(["thing_a", "thing_b"], axis=1)
    three = _three(orders.bundles(held, _like(held, kept), min_orders=definition.min_orders), alone, total)
    return rules, three, total


def _rules(pairs: pd.DataFrame, alone: pd.Series, total: int, definition: BasketDefinition) -> pd.DataFrame:
    a, b, both = (
        values.to_numpy(np.float64)
        for values in (pairs["thing_a"].map(alone), pairs["thing_b"].map(alone), pairs["orders"])
    )
    lift = both * total / (a * b)
    # Delta method of log(lift), a function of the four shares of a multinomial.
    error = np.sqrt(np.maximum(1 / both - 1 / a - 1 / b + (2 * lift - 1) / total, 0.0))
    chance = hypergeom.sf(both - 1, total, a, b) if len(pairs) else np.array([])
    adjusted = false_discovery_control(chance) if len(pairs) else chance
    shared = pairs[["orders", "customers"]].assign(
        support=both / total, lift=lift, lift_low=lift * np.exp(-Z * error), lift_high=lift * np.exp(Z * error),
        chance=chance, adjusted_chance=adjusted, is_listed=adjusted <= definition.false_share / 100,
    )  # fmt: skip
    ways = [
        pd.concat([pairs[[frm, to]].set_axis(["if", "then"], axis=1), shared.assign(confidence=both / of)], axis=1)
        for frm, to, of in (("thing_a", "thing_b", a), ("thing_b", "thing_a", b))
    ]
    columns = ["if", "then", "orders", "customers", "support", "confidence", "lift", "lift_low", "lift_high", "chance",
               "adjusted_chance", "is_listed"]  # fmt: skip
    rules = pd.concat(ways)[columns]
    return rules.sort_values(["lift_low", "if", "then"], ascending=[False, True, True], ignore_index=True)


def _three(found: Any, alone: pd.Series, total: int) -> pd.DataFrame:
    frame = collected(found)
    expected = total * np.prod([frame[f"thing_{x}"].map(alone).to_numpy(np.float64) / total for x in "abc"], axis=0)
    frame = frame.assign(support=frame["orders"] / total, lift=frame["orders"] / expected)
    names = ["thing_a", "thing_b", "thing_c"]
    return frame.sort_values(["orders", "lift", *names], ascending=[False, False, True, True, True], ignore_index=True)


def _like(native: Any, frame: pd.DataFrame) -> Any:
    """Return a small pandas frame as a frame of the same engine as ``native``."""
    if isinstance(native, pd.DataFrame):
        return frame
    if hasattr(native, "sparkSession"):
        import pyarrow as pa  # noqa: PLC0415 (of Spark alone)

        return native.sparkSession.createDataFrame(pa.Table.from_pandas(frame, preserve_index=False))
    rows = frame.astype(str)
    return native.query("lines", _values(rows))


def _values(frame: pd.DataFrame) -> str:
    texts = ["(" + ", ".join("'" + value.replace("'", "''") + "'" for value in row) + ")" for row in frame.to_numpy()]
    names = ", ".join(frame.columns)
    if not texts:
        empty = ", ".join(f"CAST(NULL AS VARCHAR) AS {name}" for name in frame.columns)
        return f"SELECT {empty} WHERE false"
    return f"SELECT * FROM (VALUES {', '.join(texts)}) AS kept({names})"
