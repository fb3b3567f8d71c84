"""Users who were dealt an arm but never met what was tried: they thin the effect, and what it is on those who did.

Source: Angrist, Imbens, Rubin 1996, "Identification of causal effects using instrumental variables".
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from features.insight.experiments.estimates import quantile
from features.insight.experiments.outcomes import EXPOSED
from features.insight.experiments.participants import Participants
from features.insight.experiments.results import PLAIN, capped
from features.insight.intervals import wilson


def dilution(participants: Participants) -> pd.DataFrame:
    """Return one row a metric of users and arm: how many met it, and the effect on those who did.

        effect on the exposed = (m_t - m_c) / (share exposed_t - share exposed_c)

    It holds where being dealt an arm changes nothing for who does not meet it, and meets it less often in no case. The
    interval is that of a ratio of two differences, by the delta method. Ratios are left out.

    Args:
        participants: of a test whose definition has an exposure.

    Returns:
        metric, arm, method (``plain``), share_exposed, share_low, share_high (Wilson's), share_exposed_control,
        difference (of all users of the arm), on_exposed, on_exposed_low, on_exposed_high; NaN where the shares do not
        differ beyond their own noise.
    """
    rows: list[dict[str, Any]] = []
    for metric in participants.definition.metrics:
        if metric.per is not None:
            continue
        kept = participants.ended(metric)
        sample = capped(participants.sample(metric), metric)
        met = participants.frame[EXPOSED].to_numpy(np.float64)[kept] > 0
        for place, arm in enumerate(participants.arms[1:], start=1):
            treated, control = sample.arm == place, sample.arm == 0
            low, high = wilson(met[treated].sum(), treated.sum())
            row = {"metric": metric.name, "arm": arm, "method": PLAIN, "share_exposed": float(met[treated].mean())}
            row |= {"share_low": float(low), "share_high": float(high), "share_exposed_control": met[control].mean()}
            rows.append(row | _on_exposed(sample.value, met.astype(np.float64), treated, control, participants))
    return pd.DataFrame(rows)


def _on_exposed(
    value: np.typing.NDArray[np.float64],
    met: np.typing.NDArray[np.float64],
    treated: np.typing.NDArray[np.bool_],
    control: np.typing.NDArray[np.bool_],
    participants: Participants,
) -> dict[str, float]:
    gap = float(value[treated].mean() - value[control].mean())
    met_gap = float(met[treated].mean() - met[control].mean())
    met_se = math.sqrt(sum(met[arm].var(ddof=1) / arm.sum() for arm in (treated, control)))
    reach = quantile(participants.definition.level, float(treated.sum() + control.sum() - 2))
    if not met_gap > reach * met_se:
        return {"difference": gap, "on_exposed": np.nan, "on_exposed_low": np.nan, "on_exposed_high": np.nan}
    found = gap / met_gap
    rest = value - found * met
    se = math.sqrt(sum(rest[arm].var(ddof=1) / arm.sum() for arm in (treated, control))) / met_gap
    return {"difference": gap, "on_exposed": found} | {
        "on_exposed_low": found - reach * se,
        "on_exposed_high": found + reach * se,
    }
