"""Tags, audiences and rule events of the tiny release, whose members are known by their numbers."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import numpy as np
import pandas as pd

from features.chances.calibration import Calibration
from features.chances.logistic import QuadraticLogit
from features.columns import EVENT_TYPE_CODES
from features.files import write_json
from features.intent.fit import VERSION, PurchaseIntent
from features.intent.model import PAUSE_SHARES, VARIABLES, IntentModel, ShopPace
from features.release import layout
from features.sequences import Sequences
from features.vocabulary import Vocabulary

DAY_US = 86_400_000_000
NAMES = {code: name for name, code in EVENT_TYPE_CODES.items()}


def write_rules(
    directory: Path, *, users: Vocabulary, histories: Sequences, vocabulary: Vocabulary, as_of_us: int
) -> None:
    """Even customers carry `even`, every third `third`; `lapsed` lapsed a day ago. Audiences: evens, few, of_item."""
    since, gone = (pd.Timestamp(as_of_us - days * DAY_US, unit="us", tz="UTC") for days in (3, 1))
    ids = sorted(users.ids)
    tags = [
        (user, tag, since, until, json.dumps([{"what": f"number % {step}", "value": int(user[5:])}]), "v1", "rule")
        for user in ids
        for tag, step, until in (("even", 2, None), ("lapsed", 1, gone), ("third", 3, None))
        if int(user[5:]) % step == 0
    ]
    columns = ["user_id", "tag", "since", "until", "evidence", "version", "source"]
    times = dict.fromkeys(("since", "until"), "datetime64[us, UTC]")
    pd.DataFrame(tags, columns=columns).astype(times).to_parquet(directory / layout.TAGS, index=False, row_group_size=8)
    members = [("evens", user, since, None) for user in ids if int(user[5:]) % 2 == 0]
    members += [("few", user, since, gone if user == ids[0] else None) for user in ids[:3]]
    pd.DataFrame(members, columns=["audience", "user_id", "since", "until"]).astype(times).to_parquet(
        directory / layout.AUDIENCES, index=False
    )
    _events(users, histories, vocabulary).to_parquet(directory / layout.RULE_EVENTS, index=False, row_group_size=100)
    plain_intent(as_of_us).save(directory / layout.INTENT)
    facts = {"item_id": vocabulary.ids, "title": [f"Thing number {n}" for n in range(len(vocabulary.ids))]}
    pd.DataFrame(facts).assign(price=100.0, stock=np.nan, cycle_days=np.nan).to_parquet(
        directory / layout.ITEM_FACTS, index=False
    )
    text = {"title": "T", "description": "D", "version": "v1", "rule": "r"}
    sizes = {"evens": sum(name == "evens" for name, *_ in members), "few": 3}
    write_json(
        directory / layout.RULES,
        {
            "as_of_us": as_of_us,
            "time_zone": "Europe/Paris",
            "minor_units": 100,
            "minimum_group": 10,
            "tags": [text | {"name": name} for name in ("even", "lapsed", "third")],
            "audiences": [text | {"name": name, "size": size} for name, size in sizes.items()],
            "audiences_with_parameters": [
                {"name": "of_item", "title": "T", "description": "D", "parameters": ["item"]}
            ],
        },
    )


def plain_intent(as_of_us: int) -> PurchaseIntent:
    """Log odds of -2 at a customer's first view, 2 more for an item in the cart, falling with the length of a pause."""
    weights = {"in_cart": 2 / np.log(2), "pause": 1.0, "past_rate": 1.0}
    seconds = np.linspace(0, 1500, len(PAUSE_SHARES))
    model = IntentModel(
        logit=QuadraticLogit.plain(VARIABLES, weights, bias=-2.0),
        calibration=Calibration(method="none"),
        pace=ShopPace(rate=0.1, pause_seconds=seconds),
        gap_minutes=30,
    )
    return PurchaseIntent(
        model=model, about={"version": VERSION, "as_of": pd.Timestamp(as_of_us, unit="us").isoformat()}
    )


def _events(users: Vocabulary, histories: Sequences, vocabulary: Vocabulary) -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "user_id": np.repeat(users.ids, np.diff(histories.offsets)),
            "event_type": [NAMES[code] for code in histories.event_type.tolist()],
            "at_us": histories.ts,
            "item_id": vocabulary.decode(histories.item),
            "price": 200,
        }
    )
    instants = pd.to_datetime(frame["at_us"], unit="us", utc=True).dt.tz_convert("Europe/Paris")
    frame["local_day"] = instants.dt.date
    assert isinstance(frame["local_day"].iloc[0], dt.date)
    return frame.sort_values(["user_id", "at_us"], kind="stable", ignore_index=True)
