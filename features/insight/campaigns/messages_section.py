"""What became of messages, and whom media reach: the sections."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import pandas as pd

from features import columns as c
from features.insight.campaigns.definition import CampaignsDefinition
from features.insight.campaigns.messages import SIDES, STAGES, message_customers, message_funnel, message_rates
from features.insight.campaigns.reach import ALL, overlap, reach, reach_by_medium
from features.insight.collecting import collected
from features.insight.inputs import Inputs, Period
from features.insight.intervals import difference_of_shares
from features.privacy.small_groups import Suppressed, suppress_small_groups
from features.report.charts import bars, heat
from features.report.page import percent, points
from features.report.sections import Definition, Drawn, Listed, Section, hidden_note, records, share_text, whole
from features.report.words import Words

_MEASURES: Final = ("step", "step_low", "step_high", "overall", "overall_low", "overall_high")


def messages_section(inputs: Inputs, definition: CampaignsDefinition, words: Words) -> Section | None:
    """Return how far messages came, nothing where none was sent or nothing is known but that."""
    funnel = _funnel(inputs, inputs.period, definition)
    if funnel.empty or not funnel[["opened", "clicked", "delivery_told"]].to_numpy().any():
        return None
    behind = _Behind(inputs=inputs, period=inputs.period, definition=definition)
    all_ = behind.shown(message_rates(funnel))
    whole_ = all_.frame
    by = ("medium", c.CAMPAIGN_ID)
    hidden = {name: behind.shown(message_rates(funnel, by=[name]), name) for name in by}
    told = {row.stage: row for row in records(whole_)}
    shares = {stage: share_text(told[stage].overall) for stage in STAGES}
    if pd.isna(told["sent"].count):
        return None
    bought = told["bought"]
    is_told = not whole_["count"].isna().any()
    return Section(
        name="messages",
        title=words("campaigns.messages_title", **shares) if is_told else words("campaigns.messages_title_few"),
        text=words("campaigns.messages_text", sent=int(told["sent"].count), days=definition.within_days),
        finding=words(
            "campaigns.messages_finding", share=share_text(bought.step), low=share_text(bought.step_low),
            high=share_text(bought.step_high), clicked=int(told["clicked"].count),
        ) if pd.notna(bought.step) else "",
        drawn=[_figure(whole_, words)],
        listed=[
            _listed(whole_, None, words),
            *(_listed(hidden[name].frame, name, words) for name in by),
            *_compared(funnel, inputs, definition, words),
        ],
        notes=list(dict.fromkeys([
            *_notes(funnel, words, minimum=inputs.minimum),
            *(note for one in (all_, *hidden.values()) for note in hidden_note(words, one, inputs.minimum)),
        ])),
        defined=[Definition(name=words("campaigns.funnel"), text=words("campaigns.funnel_text"))],
        tables={"all": whole_} | {f"by_{name}": hidden[name].frame for name in by},
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _Behind:
    """The customers behind messages of some days."""

    inputs: Inputs
    period: Period
    definition: CampaignsDefinition

    def shown(self, rates: pd.DataFrame, by: str | None = None) -> Suppressed:
        """Return rates without stages that rest on few customers, nor shares of such; a stage's total is shown."""
        days = self.definition.within_days
        found = collected(message_customers(self.inputs.log, by=by, within_days=days, period=self.period))
        keys = [] if by is None else [by]
        named = found.melt(id_vars=keys, var_name="stage", value_name="customers")
        counted = rates.merge(named, on=[*keys, "stage"], how="left")
        hidden = suppress_small_groups(
            counted, counts="customers", minimum=self.inputs.minimum, measures=["count", *_MEASURES],
            within=["stage"],
        )  # fmt: skip
        groups = [tuple(row) for row in counted[[*keys, "stage"]].astype(str).to_numpy()]
        gone = {group for group, is_hidden in zip(groups, hidden.hidden, strict=True) if is_hidden}
        of = [tuple(row) for row in counted[[*keys, "of_stage"]].astype(str).to_numpy()]
        frame = hidden.frame.drop(columns="customers")
        frame.loc[[group in gone for group in of], ["step", "step_low", "step_high"]] = pd.NA
        return replace(hidden, frame=frame)


def reach_section(inputs: Inputs, words: Words) -> Section | None:
    """Return whom each medium reaches, nothing where there is one medium only."""
    sets = collected(reach(inputs.log, period=inputs.period))
    customers = inputs.log.filter(f"{c.LOCAL_DAY} <= DATE '{inputs.period.last_day}'").aggregate(
        f"count(DISTINCT {c.USER_ID})"
    )
    number = int(customers.fetchall()[0][0])
    table = reach_by_medium(sets, num_customers=number) if len(sets) else pd.DataFrame()
    if len(table) < 3:  # one medium and all of them
        return None
    hidden = _reach_shown(table, minimum=inputs.minimum)
    told = {row.medium: row for row in records(table)}
    widest, both = records(table)[0], told[ALL]
    return Section(
        name="reach",
        title=words("campaigns.reach_title", medium=_medium(widest.medium, words), share=share_text(widest.share, 0),
                    all=share_text(both.share, 0)),
        text=words("campaigns.reach_text", customers=number),
        finding=words("campaigns.reach_finding", all=share_text(both.share), low=share_text(both.low),
                      high=share_text(both.high), customers=int(both.customers)),
        drawn=[_overlap_figure(sets, inputs, words)],
        listed=[_reach_listed(hidden.frame, words)],
        notes=hidden_note(words, hidden, inputs.minimum),
        defined=[Definition(name=words("campaigns.reached"), text=words("campaigns.reached_text"))],
        tables={"by_medium": hidden.frame},
    )  # fmt: skip


def _reach_shown(table: pd.DataFrame, *, minimum: int) -> Suppressed:
    """Return reach without few customers; ``only`` and ``added`` are told of their own number."""
    hidden = suppress_small_groups(
        table,
        counts="customers",
        minimum=minimum,
        measures=["share", "low", "high", "only", "added"],
        within=["medium"],
    )
    frame = hidden.frame
    for name in ("only", "added"):
        few = table[name].between(1, minimum - 1).to_numpy()
        frame.loc[few, name] = pd.NA
    return replace(hidden, frame=frame)


def _funnel(inputs: Inputs, period: Period, definition: CampaignsDefinition) -> pd.DataFrame:
    """Return the funnel of messages of some days; what came of them counts up to the log's end."""
    days = definition.within_days
    return collected(message_funnel(inputs.log, within_days=days, last_at_us=inputs.last_at_us, period=period))


def _figure(table: pd.DataFrame, words: Words) -> Drawn:
    shown = table[table["stage"].isin(STAGES) & table["count"].notna()]
    title = words("campaigns.messages_figure")
    texts = [
        f"{percent(row.overall)} ({whole(row.count)})"
        for row in records(shown.rename(columns={"count": "n"}).assign(count=shown["count"]))
    ]
    names = [words(f"campaigns.stage_{stage}") for stage in shown["stage"]]
    return Drawn(svg=bars(names, shown["overall"].astype(float), texts, title=title, description=title), caption=title)


def _listed(table: pd.DataFrame, by: str | None, words: Words) -> Listed:
    heads = [] if by is None else [words(f"campaigns.head_{by}")]
    rows = []
    for _, row in table.iterrows():
        name = [] if by is None else [_medium(str(row[by]), words)]
        first = row["stage"] == STAGES[0]  # all of them, of which nothing is uncertain
        step = "" if first else _ranged(row["step"], row["step_low"], row["step_high"], words)
        of = "" if first else words(f"campaigns.stage_{row['of_stage']}")
        rows.append([*name, words(f"campaigns.stage_{row['stage']}"), whole(row["count"]), step, of,
                     "" if first else _ranged(row["overall"], row["overall_low"], row["overall_high"], words)])  # fmt: skip
    columns = [*heads, *(words(f"campaigns.head_{name}") for name in ("stage", "count", "step", "of_stage", "overall"))]
    return Listed(caption=words(f"campaigns.messages_by_{by or 'all'}"), columns=columns, rows=rows)


def _compared(funnel: pd.DataFrame, inputs: Inputs, definition: CampaignsDefinition, words: Words) -> list[Listed]:
    """Return each stage beside that of the other period, with the difference's interval."""
    if inputs.compared is None:
        return []
    other = _funnel(inputs, inputs.compared, definition)
    if other.empty:
        return []
    now, then = message_rates(funnel), message_rates(other)
    told = [
        _Behind(inputs=inputs, period=period, definition=definition).shown(rates).frame["step"].notna()
        for period, rates in ((inputs.period, now), (inputs.compared, then))
    ]
    of = [SIDES.get(str(stage)) or STAGES[max(STAGES.index(str(stage)) - 1, 0)] for stage in now["stage"]]
    counts, counts_then = now.set_index("stage")["count"], then.set_index("stage")["count"]
    low, high = difference_of_shares(now["count"], counts[of], then["count"], counts_then[of])
    rows = [
        [words(f"campaigns.stage_{one.stage}"), share_text(one.step), share_text(two.step),
         words("campaigns.range", value=points(one.step - two.step), low=points(down), high=points(up))]
        for one, two, down, up, shown in zip(records(now), records(then), low, high, told[0] & told[1], strict=True)
        if shown and one.stage != "sent" and pd.notna(one.step) and pd.notna(two.step)
    ]  # fmt: skip
    columns = [words("campaigns.head_stage"), words.days(inputs.period.first_day, inputs.period.last_day),
               words.days(inputs.compared.first_day, inputs.compared.last_day), words("campaigns.head_difference")]  # fmt: skip
    return [Listed(caption=words("campaigns.compared"), columns=columns, rows=rows)]


def _notes(funnel: pd.DataFrame, words: Words, *, minimum: int) -> list[str]:
    notes = [words("campaigns.messages_warning")]
    silent = sorted(set(funnel["medium"][funnel["delivery_told"] == 0]))
    if silent:
        notes.append(words("campaigns.silent", media=words.listing([_medium(name, words) for name in silent])))
    if funnel["open"].sum() >= max(minimum, 1):
        notes.append(words("campaigns.open", count=int(funnel["open"].sum())))
    return notes


def _overlap_figure(sets: pd.DataFrame, inputs: Inputs, words: Words) -> Drawn:
    pairs = overlap(sets)
    shares = pairs.pivot_table(index="medium", columns="other", values="share", aggfunc="sum")
    counts = pairs.pivot_table(index="medium", columns="other", values="customers", aggfunc="sum")
    texts = [
        ["" if count < inputs.minimum else percent(share, 0) for share, count in zip(row, number, strict=True)]
        for row, number in zip(shares.to_numpy(), counts.to_numpy(), strict=True)
    ]
    shown = shares.where(counts >= inputs.minimum)
    names, title = [_medium(str(name), words) for name in shares.index], words("campaigns.overlap_figure")
    return Drawn(
        svg=heat(shown.to_numpy(), rows=names, columns=names, texts=texts, title=title, description=title,
                 row_title=words("campaigns.of_these"), column_title=words("campaigns.also_reached")),
        caption=title,
    )  # fmt: skip


def _reach_listed(table: pd.DataFrame, words: Words) -> Listed:
    rows = [
        [_medium(row.medium, words), whole(row.customers), _ranged(row.share, row.low, row.high, words),
         whole(row.only), whole(row.added)]
        for row in records(table)
    ]  # fmt: skip
    heads = ("medium", "customers", "share", "only", "added")
    return Listed(
        caption=words("campaigns.reach_listed"), columns=[words(f"campaigns.head_{h}") for h in heads], rows=rows
    )


def _ranged(value: object, low: object, high: object, words: Words) -> str:
    found = share_text(value)
    if pd.isna(value) or pd.isna(low):  # type: ignore[call-overload]
        return found
    return words("campaigns.range", value=found, low=share_text(low), high=share_text(high))


def _medium(name: str, words: Words) -> str:
    key = name.strip("()")
    return words.term("campaigns.medium", key) if words.has(f"campaigns.medium.{key}") else name
