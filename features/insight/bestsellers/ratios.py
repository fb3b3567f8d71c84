"""How much more often visits with a sign buy: a ratio of rates with its interval, of one item and of all together."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import false_discovery_control, norm

from features.insight.bestsellers.definition import BestsellerDefinition
from features.insight.intervals import Z

Floats = npt.NDArray[np.float64]


def sign_ratios(signs: pd.DataFrame, definition: BestsellerDefinition) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return ratios of purchase rates, with a sign over without it: by item, and of all items together.

    Together is the ratio of Mantel and Haenszel over the items: items that sell well and items that do not are each
    compared with themselves.

    Args:
        signs: from ``visit_signs``, in memory.
        definition: how many visits a sign needs, and how many of those listed may be chance.

    Returns:
        By item: item_id, sign, section, customers, with_sign, rate_with, rate_without, ratio, low, high (95%), chance,
        is_listed (Benjamini and Hochberg). Together: sign, section, customers (with the sign at any bestseller, each
        once), items, with_sign, ratio, low, high,
        chance, is_listed; from the largest ratio on.

    Source: Katz et al. 1978 (interval of a ratio); Greenland and Robins 1985 (of Mantel and Haenszel's).
    """
    without = signs["visits"] - signs["with_sign"]
    enough = (signs["with_sign"] >= definition.min_visits) & (without >= definition.min_visits) & (signs["buyers"] > 0)
    signs = signs.assign(section=signs["section"].fillna(""))
    of_all = signs["item_id"].isna()
    once = signs[of_all].set_index(["sign", "section"])["customers"].to_dict()
    kept = signs[enough & ~of_all].reset_index(drop=True)
    one = kept[["item_id", "sign", "section", "customers", "with_sign"]].assign(**_ratio(kept))
    groups = [
        {"sign": sign, "section": section, "customers": once.get((sign, section)), "items": len(rows),
         "with_sign": int(rows["with_sign"].sum()), **_together(rows)}
        for (sign, section), rows in kept.groupby(["sign", "section"], sort=True)
    ]  # fmt: skip
    names = ["sign", "section", "customers", "items", "with_sign", "ratio", "low", "high", "chance"]
    together = pd.DataFrame(groups, columns=names)
    by_item, pooled = (
        frame.assign(is_listed=_listed(frame["chance"], definition)).sort_values(
            "ratio", ascending=False, kind="stable", ignore_index=True
        )
        for frame in (one, together)
    )
    return by_item, pooled


def _cells(rows: pd.DataFrame) -> tuple[Floats, Floats, Floats, Floats]:
    """Return bought and visits with the sign, and without it."""
    a, n = (rows[name].to_numpy(np.float64) for name in ("bought_with_sign", "with_sign"))
    return a, n, rows["buyers"].to_numpy(np.float64) - a, rows["visits"].to_numpy(np.float64) - n


def _ratio(rows: pd.DataFrame) -> dict[str, Floats]:
    a, n, b, m = _cells(rows)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = (a / n) / (b / m)
        error = np.sqrt(1 / a - 1 / n + 1 / b - 1 / m)
        low, high, chance = _ends(ratio, error)
    return {"rate_with": a / n, "rate_without": b / m, "ratio": ratio, "low": low, "high": high, "chance": chance}


def _together(rows: pd.DataFrame) -> dict[str, float]:
    a, n, b, m = _cells(rows)
    whole = n + m
    top, bottom = (a * m / whole).sum(), (b * n / whole).sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = ((n * m * (a + b) - a * b * whole) / whole**2).sum() / (top * bottom)
        ratio = np.float64(top) / bottom
        low, high, chance = _ends(ratio, np.sqrt(spread))
    return {"ratio": float(ratio), "low": float(low), "high": float(high), "chance": float(chance)}


def _ends(ratio: Floats, error: Floats) -> tuple[Floats, Floats, Floats]:
    chance = 2 * norm.sf(np.abs(np.log(ratio)) / error)
    unknown = ~(np.isfinite(error) & (error > 0))  # such as where each visit bought
    low, high = ratio * np.exp(-Z * error), ratio * np.exp(Z * error)
    return np.where(unknown, np.nan, low), np.where(unknown, np.nan, high), np.where(unknown, 1.0, chance)


def _listed(chance: pd.Series, definition: BestsellerDefinition) -> npt.NDArray[np.bool_]:
    values = chance.to_numpy(np.float64)
    adjusted = false_discovery_control(values) if len(values) else values
    return np.asarray(adjusted <= definition.false_share / 100)
