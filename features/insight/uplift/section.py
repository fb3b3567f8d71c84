"""Whom campaigns moved: a section of the campaign that dealt most customers an arm."""

from __future__ import annotations

from typing import Any, Final

import numpy.typing as npt
import pandas as pd

from features import columns as c
from features.insight.campaigns.definition import CampaignsDefinition
from features.insight.campaigns.judge import windows_of
from features.insight.campaigns.section import campaigns_of
from features.insight.campaigns.sends import campaigns_sent
from features.insight.campaigns.windows import Windows
from features.insight.collecting import collected
from features.insight.inputs import Inputs
from features.insight.uplift.campaign import CampaignTrial, campaign_trial
from features.insight.uplift.curves import curve
from features.insight.uplift.model import groups_by_uplift, uplift_unseen
from features.insight.uplift.scores import Scoring, scores
from features.privacy.small_groups import suppress_small_groups
from features.report.charts import bars, lines
from features.report.page import percent, points
from features.report.sections import (
    HIDDEN,
    Definition,
    Drawn,
    Listed,
    NothingToShow,
    Section,
    hidden_note,
    records,
    share_text,
    whole,
)
from features.report.words import Words

GROUPS: Final = 5
_LEAST: Final = 200  # customers of the smaller arm, below which a model tells nothing
_FIRST: Final = 0.3
_POINTS: Final = 11
_MEASURES: Final = ("treated", "predicted", "treated_mean", "control_mean", "uplift", "low", "high")


def sections(inputs: Inputs, words: Words) -> list[Section]:
    """Return how far a model finds the customers that a campaign moved.

    Args:
        inputs: ``definitions["campaigns"]`` names the columns with arms (``CampaignsDefinition``).
        words: of the page.

    Raises:
        NothingToShow: no campaign of these days held out enough customers at random.
        ConfigError: the definition does not fit, or scikit-learn is not installed.
    """
    definition = CampaignsDefinition.parse(inputs.definitions.get("campaigns"), where="campaigns")
    found = _largest(inputs, definition)
    if found is None:
        raise NothingToShow(words("uplift.none", least=_LEAST))
    campaign_id, trial = found
    return [uplift_section(campaign_id, trial, inputs, words)]


def uplift_section(campaign_id: str, found: CampaignTrial, inputs: Inputs, words: Words) -> Section:
    """Return the section of one campaign."""
    trial = found.trial
    score = uplift_unseen(found.attributes, trial)
    table = scores(trial, score, Scoring(shares=(_FIRST, 1.0)))
    groups = groups_by_uplift(trial, score, groups=GROUPS)
    hidden = suppress_small_groups(
        groups, counts="customers", minimum=inputs.minimum, measures=_MEASURES, within=["group"]
    )
    qini, _, first, everybody = records(table)
    told = {"campaign": campaign_id, "share": percent(_FIRST, 0), "value": points(first.value), "low": points(first.low),
            "high": points(first.high), "all": points(everybody.value)}  # fmt: skip
    finds = qini.low > 0
    return Section(
        name="uplift",
        title=words("uplift.title" if finds else "uplift.title_none", **told),
        text=words("uplift.text", customers=trial.num_customers, treated=trial.num_treated),
        finding=words("uplift.finding", **told),
        drawn=[_groups_figure(hidden.frame, words), _curve_figure(trial, score, words)],
        listed=[_groups_listed(hidden.frame, words), _scores_listed(table, words)],
        notes=[words("uplift.note" if finds else "uplift.note_none"), *hidden_note(words, hidden, inputs.minimum)],
        defined=[
            Definition(name=words(f"uplift.{name}"), text=words(f"uplift.{name}_text"), source=words(f"uplift.{name}_source"))
            for name in ("model", "qini", "auuc")
        ],
        tables={"groups": hidden.frame, "scores": table},
    )  # fmt: skip


def _largest(inputs: Inputs, definition: CampaignsDefinition) -> tuple[str, CampaignTrial] | None:
    """Return the campaign whose smaller arm is largest, with its customers; nothing where all are too small."""
    users = inputs.table("users")
    if users is None:
        return None
    table = collected(users).drop_duplicates(c.USER_ID)
    both = (definition.treated, definition.held_out)
    best: tuple[int, str, pd.Series] | None = None
    windows = _windows(inputs, definition)
    for campaign_id in windows:
        column = definition.holdout_of(campaign_id)
        if column not in table:
            continue
        arms = table.set_index(c.USER_ID)[column].dropna().sort_index()
        smaller = min(int((arms == arm).sum()) for arm in both)
        if smaller >= _LEAST and (best is None or smaller > best[0]):
            best = smaller, campaign_id, arms[arms.isin(both)] == definition.treated
    if best is None:
        return None
    return best[1], campaign_trial(inputs.log, best[2], windows[best[1]], users=table)


def _windows(inputs: Inputs, definition: CampaignsDefinition) -> dict[str, Windows]:
    """Return the windows of the campaigns of these days that are over."""
    sent = collected(campaigns_sent(inputs.log)).set_index(c.CAMPAIGN_ID)["first_day"]
    first, last = inputs.log.aggregate(f"min({c.LOCAL_DAY}), max({c.LOCAL_DAY})").fetchall()[0]
    begun = [name for name in campaigns_of(inputs, definition) if name in sent]
    found = {name: windows_of(pd.Timestamp(sent[name]).date(), definition, first_day=first) for name in begun}
    return {name: windows for name, windows in found.items() if windows and windows.during.last_day <= last}


def _groups_figure(groups: pd.DataFrame, words: Words) -> Drawn:
    title = words("uplift.groups_figure")
    names = [words("uplift.group", number=int(number)) for number in groups["group"]]
    texts = [
        HIDDEN if pd.isna(row.uplift) else f"{points(row.uplift)} ({points(row.low)}, {points(row.high)})"
        for row in records(groups)
    ]
    lengths = groups["uplift"].astype("Float64").fillna(0).clip(lower=0).astype(float)
    return Drawn(svg=bars(names, lengths, texts, title=title, description=title), caption=title)


def _curve_figure(trial: Any, score: Any, words: Words) -> Drawn:
    shares = [place / (_POINTS - 1) for place in range(_POINTS)]
    gain = curve(trial, score, kind="uplift")
    random = [share * float(gain.gain[-1]) for share in shares]
    series: dict[str, npt.ArrayLike] = {words("uplift.by_model"): gain.at(shares), words("uplift.at_random"): random}
    title = words("uplift.curve_figure")
    svg = lines([percent(share, 0) for share in shares], series, title=title, description=words("uplift.curve_text"))
    return Drawn(svg=svg, caption=title)


def _groups_listed(groups: pd.DataFrame, words: Words) -> Listed:
    rows = [
        [whole(row.group), whole(row.customers), _points(row.predicted), share_text(row.treated_mean),
         share_text(row.control_mean), words("uplift.range", value=_points(row.uplift), low=_points(row.low), high=_points(row.high))]
        for row in records(groups)
    ]  # fmt: skip
    heads = ("number", "customers", "predicted", "treated", "held_out", "uplift")
    return Listed(caption=words("uplift.groups_figure"), columns=[words(f"uplift.head_{h}") for h in heads], rows=rows)


def _scores_listed(table: pd.DataFrame, words: Words) -> Listed:
    rows = [
        [words(f"uplift.measure_{row.measure}", share=percent(row.share, 0)),
         words("uplift.range", value=_points(row.value, 2), low=_points(row.low, 2), high=_points(row.high, 2))]
        for row in records(table)
    ]  # fmt: skip
    return Listed(
        caption=words("uplift.scores"), columns=[words("uplift.head_measure"), words("uplift.head_value")], rows=rows
    )


def _points(value: Any, digits: int = 1) -> str:
    return HIDDEN if pd.isna(value) else points(float(value), digits)
