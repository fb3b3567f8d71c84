"""The alerts of a demand part, most urgent first."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import pandas as pd

from features import columns as c
from features.errors import ReleaseError
from features.release import Part, layout
from serving.api.demand_schemas import ALERT_KINDS, Alert, AlertsAnswer, AlertsRequest


@dataclass(frozen=True, kw_only=True, eq=False)
class AlertBook:
    """Alerts by rank, then kind: the first of each kind before the second of any.

    Args:
        alerts: in that order.
        notes: what is absent, and why.
        part: which part they come from.
    """

    alerts: tuple[Alert, ...]
    notes: tuple[str, ...]
    part: Part

    @classmethod
    def load(cls, part: Part) -> AlertBook | None:
        """Read a demand part's alerts; ``None`` where it was made before there were any.

        Raises:
            ReleaseError: a column is missing.
        """
        if layout.ALERTS not in part.files:
            return None
        path = part.path(layout.ALERTS)
        frame = pd.read_parquet(path)
        missing = {"kind", "rank", c.ITEM_ID, "action", "quantity", c.DAY, "reason"} - set(frame.columns)
        if missing:
            raise ReleaseError(f"{path}: expected columns {sorted(missing)}, found {list(frame.columns)}.")
        order = frame["kind"].map({kind: number for number, kind in enumerate(ALERT_KINDS)})
        frame = frame.assign(order=order).sort_values(["rank", "order"], kind="stable")
        rows = frame.astype({"quantity": "Int64"}).to_dict("records")
        return cls(
            alerts=tuple(
                Alert(
                    kind=row["kind"],
                    item_id=str(row[c.ITEM_ID]),
                    action=row["action"],
                    quantity=None if pd.isna(row["quantity"]) else int(row["quantity"]),
                    day=_day(row[c.DAY]),
                    reason=row["reason"],
                )
                for row in rows
            ),
            notes=tuple(part.about.get("alerts", {}).get("notes", ())),
            part=part,
        )

    def answer(self, request: AlertsRequest) -> AlertsAnswer:
        """Return the alerts of a kind, or of all."""
        found = [one for one in self.alerts if request.kind in (None, one.kind)]
        as_of = self.part.about.get("as_of")
        return AlertsAnswer(
            alerts=found[: request.limit],
            counts={kind: sum(one.kind == kind for one in self.alerts) for kind in ALERT_KINDS},
            notes=list(self.notes),
            as_of=None if as_of is None else str(as_of),
            model_version=self.part.version,
        )


def _day(value: object) -> dt.date:
    return pd.Timestamp(value).date()  # type: ignore[arg-type]
