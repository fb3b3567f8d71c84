"""Kaplan and Meier's estimate: what share has done something within t, where some were not watched to the end."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.insight.intervals import Z, wilson

Floats = npt.NDArray[np.floating]


def kaplan_meier(durations: npt.ArrayLike, came: npt.ArrayLike, left: npt.ArrayLike) -> pd.DataFrame:
    """Return the share of whom it came to within t, a row a duration.

        t    at risk  came  left       share within t
        1    10       2     1          1 - 8/10           = .2
        3    7        1     0          1 - 8/10 * 6/7     = .314

    Who leaves at t was watched through t: it is at risk there.

    Args:
        durations: rising, each once, ``[T]``.
        came: to how many it came after just so long, ``[T]``.
        left: how many were watched for just so long and it had not come, ``[T]``.

    Returns:
        t, at_risk, came, left, share, low, high. The interval (95%) is of the log of minus the log of the rest, with
        Greenwood's variance; where it came to nobody or to all, that has no variance, and the interval is Wilson's of
        those at risk.

    Source: Kaplan and Meier 1958; Greenwood 1926; the log-log interval after Kalbfleisch and Prentice 1980.
    """
    event, gone = np.asarray(came, np.float64), np.asarray(left, np.float64)
    at_risk = (event + gone)[::-1].cumsum()[::-1]  # [T]
    rest = np.cumprod(1 - event / at_risk) if len(at_risk) else at_risk
    low, high = _interval(event, at_risk, rest)
    whole: dict[str, Any] = {"at_risk": at_risk, "came": event, "left": gone}
    table = pd.DataFrame({"t": np.asarray(durations)} | {name: x.astype(np.int64) for name, x in whole.items()})
    return table.assign(share=1 - rest, low=low, high=high)


def _interval(event: Floats, at_risk: Floats, rest: Floats) -> tuple[Floats, Floats]:
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = np.cumsum(event / (at_risk * (at_risk - event)))
        spread = np.sqrt(variance) / np.abs(np.log(rest))
        low, high = 1 - rest ** np.exp(-Z * spread), 1 - rest ** np.exp(Z * spread)
    degenerate = (rest >= 1) | (rest <= 0)
    bound_low, bound_high = wilson((1 - rest) * at_risk, at_risk)
    return np.where(degenerate, bound_low, low), np.where(degenerate, bound_high, high)


def share_within(curve: pd.DataFrame, t: float) -> dict[str, float]:
    """Return share, low and high of a curve at ``t``; nothing came before its first row.

    Args:
        curve: from ``kaplan_meier``.
        t: in the unit of its durations.
    """
    row = int(np.searchsorted(curve["t"], t, side="right")) - 1
    if row < 0:
        return {"share": 0.0, "low": 0.0, "high": 0.0}
    return {name: float(curve[name].iloc[row]) for name in ("share", "low", "high")}


def quantile(curve: pd.DataFrame, share: float, *, of: str = "share") -> float:
    """Return the first duration by which the curve has reached ``share``; missing where it never does.

    Args:
        curve: from ``kaplan_meier``.
        share: such as 0.5.
        of: the column that is asked: ``high`` gives the lower, ``low`` the upper end of the quantile's interval
            (Brookmeyer and Crowley 1982).
    """
    reached = curve[of].to_numpy() >= share - 1e-12
    return float(curve["t"].to_numpy()[reached.argmax()]) if reached.any() else float("nan")
