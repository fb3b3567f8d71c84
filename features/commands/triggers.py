"""``footfall triggers``: the messages that a growth team sends this morning."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.commands.parsing import Parameters, as_texts, run_command
from features.errors import ConfigError
from features.settings import EngineSettings
from features.triggers.limits import DEFAULT_LIMITS, Limits, When

if TYPE_CHECKING:
    from features.triggers.morning import MorningPlan


def triggers(
    features: Path,
    out: Path,
    *,
    only: str = "",
    rules: Path | None = None,
    parameters: Parameters = None,
    as_of: str = "",
    sent: Path | None = None,
    held: Path | None = None,
    limits: Limits = DEFAULT_LIMITS,
    when: When = "best_hour",
    consents: Path | None = None,
    store: Path | None = None,
    pseudonyms_for: str = "",
    key: Path | None = None,
    engine: EngineSettings = EngineSettings(),
) -> dict[str, Any]:
    """Plan today's messages: whom to write to, about what, when and why; and say what was held back.

    Only customers who consent to personalisation at this moment are written to.

    Args:
        features: directory that `footfall features` wrote.
        out: file for the messages, .parquet or .csv.
        only: names of triggers, separated by commas; all of them where left out.
        rules: YAML file of triggers; the shop's own in the features, or the ready ones, where left out.
        parameters: what $name in the rules stands for, such as '{lead_days: 5}'.
        as_of: earlier local day, such as 2026-03-01, to see what would have been planned at its end.
        sent: file that this command wrote before, or a directory of them: their messages count as sent.
        held: file for the messages that a cap, an hour, an earlier message or an unsubscription holds back.
        limits: caps, quiet hours, best hour and medium.
        when: best_hour plans for each customer's next best hour; now holds back in quiet hours.
        consents: data directory whose consents are newer than those of the features.
        store: release store; nobody on its erasure list is written to.
        pseudonyms_for: recipient; ids are then replaced by keyed pseudonyms for them alone.
        key: key file for them; the variable FOOTFALL_PSEUDONYM_KEY where left out.
        engine: where rules are computed.
    """
    from features.exports import export_rows, format_of
    from features.privacy.pseudonyms import KeyRing
    from features.release.erasure import ErasedUsers
    from features.release.release import ReleaseStore
    from features.triggers.morning import Morning, plan_morning
    from features.triggers.sent import read_planned

    formats = {path: format_of(path) for path in (out, held) if path is not None}
    ring = KeyRing.load(key) if pseudonyms_for else None
    morning = Morning(
        now=dt.datetime.now(dt.UTC),
        day=_day(as_of),
        rules=rules,
        only=[name.strip() for name in only.split(",") if name.strip()],
        parameters=as_texts(parameters),
        earlier=None if sent is None else read_planned(sent, but=out),
        names=() if ring is None else [ring.pseudonyms(pseudonyms_for, number=number) for number in ring.keys],
        limits=limits,
        when=when,
        consents=consents,
        erased=ErasedUsers() if store is None else ReleaseStore(root=store).erasures.load(),
        engine=engine,
    )
    made = plan_morning(features, morning)
    names = ring.pseudonyms(pseudonyms_for) if ring else None
    export_rows(made.plan.messages, out, file_format=formats[out], pseudonyms=names)
    if held is not None:
        export_rows(made.plan.held, held, file_format=formats[held], pseudonyms=names)
    return {"out": str(out), **_summary(made, morning.now)}


def _day(text: str) -> dt.date | None:
    try:
        return dt.date.fromisoformat(text) if text else None
    except ValueError:
        raise ConfigError(f"--as_of: expected a day such as 2026-03-01, found {text!r}.") from None


def _summary(made: MorningPlan, now: dt.datetime) -> dict[str, Any]:
    from features.rules.rows import instant_us
    from features.rules.session import instant

    return {
        "as_of": instant(made.as_of_us),
        "age_hours": round((instant_us(now) - made.as_of_us) / 3_600_000_000, 1),
        "customers": {"known": made.num_customers, "consenting": made.num_allowed},
        **made.plan.totals(),
        "sent_to_strangers": made.num_strangers,
        "by_trigger": made.plan.counts,
    }


def run(argv: list[str]) -> dict[str, Any] | None:
    """Run ``footfall triggers``."""
    return run_command(triggers, argv, prog="footfall triggers")
