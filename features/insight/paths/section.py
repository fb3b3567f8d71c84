"""The sections about paths: ways from and to an event, what follows what, what pages and searches lead to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import pandas as pd

from features import columns as c
from features.errors import ConfigError, DataError
from features.insight.collecting import collected
from features.insight.inputs import Inputs, Period
from features.insight.paths.chart import sankey_chart
from features.insight.paths.definition import NodeDefinition, PathDefinition
from features.insight.paths.links import SOURCE, TARGET, link_counts, sankey
from features.insight.paths.rates import difference
from features.insight.paths.step_matrix import STEP, step_counts, step_matrix
from features.insight.paths.steps import AUDIENCE, END, NODE, OTHER, START
from features.insight.paths.transitions import NEXT, transition_counts, transition_matrix
from features.insight.paths.value_sections import pages_section, search_section
from features.insight.paths.wording import interval, step_name
from features.insight.retention.periods import of_types
from features.privacy.small_groups import suppress_small_groups
from features.report.charts import heat
from features.report.page import percent, points
from features.report.sections import (
    HIDDEN,
    Definition,
    Drawn,
    Listed,
    NothingToShow,
    Section,
    capital,
    hidden_note,
    numbers,
    records,
    share_text,
    whole,
)  # fmt: skip
from features.report.words import Words
from features.tables.visits import VISIT_EVENTS

_TELLING: Final = 3  # with fewer kinds of events than these in a log, its pages say more
_GOALS: Final = (c.PURCHASE, c.CHECKOUT)
_SHOWN: Final = 7  # steps in the map of what follows what
_KEYS: Final = [STEP, NODE]


def sections(inputs: Inputs, words: Words) -> list[Section]:
    """Return ways, what follows what, and what pages and searches lead to.

    Raises:
        NothingToShow: the period has no visit, or its visits have steps of one kind alone.
        ConfigError: the shop's definitions do not fit.
    """
    if not inputs.rows.project(c.USER_ID).limit(1).fetchall():
        raise NothingToShow(words("paths.none"))
    if not inputs.definitions.get("paths") and _is_one_kind(inputs):
        raise NothingToShow(words("paths.one_kind"))
    found = []
    for name, definition in _definitions(inputs).items():
        try:
            found.append(_way(name, definition, inputs, words))
        except DataError:
            if inputs.definitions.get("paths"):
                raise
    if not found:
        raise NothingToShow(words("paths.none"))
    more = (_follows(inputs, words), pages_section(inputs, words), search_section(inputs, words))
    return [*found, *(one for one in more if one is not None)]


def _definitions(inputs: Inputs) -> dict[str, PathDefinition]:
    told = inputs.definitions.get("paths")
    if not told:
        return _ready(inputs)
    if not isinstance(told, Mapping):
        raise ConfigError(f"paths: expected a mapping of names and definitions, found {type(told).__name__}.")
    return {name: PathDefinition.parse(one, where=f"paths.{name}") for name, one in told.items()}


def _ready(inputs: Inputs) -> dict[str, PathDefinition]:
    """From the start of visits, and to a purchase; where nobody buys in this log, to a checkout."""
    node, types = _node(inputs), _event_types(inputs)
    found = {"start": PathDefinition(node=node, num_steps=3, top=8)}
    for goal in [name for name in _GOALS if name in types][:1]:
        found[goal] = PathDefinition(node=node, anchor=goal, anchor_by=c.EVENT_TYPE, direction="to", num_steps=3, top=6)
    return found


def _node(inputs: Inputs) -> NodeDefinition:
    """Steps by kind of event, or, where a log has hardly more than views of pages, by page."""
    pages = inputs.rows.filter("section IS NOT NULL").project("section").limit(1).fetchall()
    kinds = _event_types(inputs) & set(VISIT_EVENTS)
    return NodeDefinition(by=("section",)) if pages and len(kinds) < _TELLING else NodeDefinition()


def _is_one_kind(inputs: Inputs) -> bool:
    """Whether all steps would have one name, as where a log has purchases alone: each follows itself."""
    (by,) = _node(inputs).by
    steps = inputs.rows.filter(of_types(VISIT_EVENTS)).project(by).distinct()
    return len(steps.limit(2).fetchall()) < 2


def _event_types(inputs: Inputs) -> set[str]:
    return {name for (name,) in inputs.rows.project(c.EVENT_TYPE).distinct().fetchall()}


def _way(name: str, definition: PathDefinition, inputs: Inputs, words: Words) -> Section:
    links = sankey(collected(link_counts(inputs.rows, definition, items=inputs.items)))
    links = links.drop(columns=AUDIENCE)
    hidden = suppress_small_groups(
        links, counts="users", minimum=inputs.minimum, measures=("visits", "share"), within=(STEP,)
    )
    matrix = _matrix(inputs, inputs.period, definition)
    ahead = definition.direction == "from"
    anchor = (
        step_name(definition.anchor, words) if definition.anchor else words("paths.start" if ahead else "paths.end")
    )
    told = _nearest(hidden.frame, matrix, anchor, ahead=ahead, words=words)
    key = "from" if ahead else "to"
    svg = sankey_chart(hidden.frame, name_of=lambda one: step_name(one, words), title=told["title"],
                       description=words(f"paths.figure_{key}", anchor=anchor))  # fmt: skip
    return Section(
        name=f"paths_{name}",
        title=told["title"],
        text=words(f"paths.text_{key}", anchor=anchor, steps=definition.num_steps),
        finding=told["finding"],
        drawn=[Drawn(svg=svg, caption=words(f"paths.figure_{key}", anchor=anchor))],
        listed=[_links_listed(hidden.frame, words), *_compared(matrix, definition, inputs, words)],
        notes=hidden_note(words, hidden, inputs.minimum),
        defined=_defined(definition, words),
        tables={"links": hidden.frame, "steps": _shown(matrix, inputs.minimum)},
    )


def _matrix(inputs: Inputs, period: Period, definition: PathDefinition) -> pd.DataFrame:
    return step_matrix(collected(step_counts(inputs.rows_of(period), definition, items=inputs.items)))


def _shown(matrix: pd.DataFrame, minimum: int) -> pd.DataFrame:
    """Leave out shares of few customers' visits."""
    kept = (matrix["base_users"] >= minimum) & ((matrix["visits"] >= minimum) | (matrix["visits"] == 0))
    return matrix[kept].drop(columns=["worth"]).reset_index(drop=True)


def _nearest(links: pd.DataFrame, matrix: pd.DataFrame, anchor: str, *, ahead: bool, words: Words) -> dict[str, str]:
    """The sentence about the step next to the anchor that most visits take."""
    rows = links[(links[STEP] == (0 if ahead else -1)) & links["share"].notna()]
    rows = rows[~rows[TARGET if ahead else SOURCE].isin([OTHER, START, END])]
    if rows.empty:
        return {"title": words("paths.plain_title", anchor=anchor), "finding": ""}
    top = records(rows.sort_values("share", ascending=False, kind="stable")[:1])[0]
    node = top.target if ahead else top.source
    at = matrix[(matrix[STEP] == 1) & (matrix[NODE] == node)].iloc[0]
    told = {"anchor": anchor, "node": step_name(node, words)}
    key = "from" if ahead else "to"
    title = words(f"paths.title_{key}", **told, share=words.fraction(float(top.share)))
    return {
        "title": capital(title),
        "finding": words(f"paths.finding_{key}", **told, share=interval(at["share"], at["low"], at["high"], words)),
    }


def _links_listed(links: pd.DataFrame, words: Words) -> Listed:
    rows = [
        [f"{row.step:+d}".replace("-", "−").replace("+0", "0"), step_name(row.source, words), step_name(row.target, words),
         whole(row.visits), share_text(row.share)]
        for row in records(links)
    ]  # fmt: skip
    heads = [words(f"paths.{name}") for name in ("step", "source", "target", "visits", "share")]
    return Listed(caption=words("paths.links"), columns=heads, rows=rows)


def _compared(matrix: pd.DataFrame, definition: PathDefinition, inputs: Inputs, words: Words) -> list[Listed]:
    if inputs.compared is None:
        return []
    try:
        before = _matrix(inputs, inputs.compared, definition)
    except DataError:
        return []
    both = pd.concat([before.assign(**{AUDIENCE: "before"}), matrix.assign(**{AUDIENCE: "now"})])
    named = (set(before[NODE]) & set(matrix[NODE])) - {OTHER}  # each period names the steps that are frequent in it
    both = both[(both["base_users"] >= inputs.minimum) & both[NODE].isin(named)]
    if both[AUDIENCE].nunique() < 2:
        return []
    found = difference(both[both[STEP] > 0], _KEYS, "before", "now")
    rows = [
        [str(row.step), step_name(row.node, words), percent(row.share_second), percent(row.share_first),
         words("paths.change", points=points(row.difference), low=points(row.low), high=points(row.high))]
        for row in records(found.sort_values(_KEYS))
    ]  # fmt: skip
    heads = [words(f"paths.{name}") for name in ("step", "node", "now", "before", "difference")]
    return [Listed(caption=words("paths.compared"), columns=heads, rows=rows)]


def _defined(definition: PathDefinition, words: Words) -> list[Definition]:
    return [
        Definition(name=words("paths.visit"), text=words("paths.visit_text", minutes=definition.gap_minutes),
                   source=words("paths.visit_source")),
        Definition(name=words("paths.loops"), text=words(f"paths.loops_{definition.collapse}")),
        Definition(name=words("paths.interval"), text=words("paths.interval_text"), source=words("paths.interval_source")),
    ]  # fmt: skip


def _follows(inputs: Inputs, words: Words) -> Section | None:
    definition = PathDefinition(node=_node(inputs), top=_SHOWN)
    found = transition_matrix(collected(transition_counts(inputs.rows, definition)))
    found = found[found["base_users"] >= inputs.minimum].drop(columns=AUDIENCE)
    found["hidden"] = (found["visits"] < inputs.minimum).to_numpy()
    inner = found[~found["hidden"] & ~found[NODE].isin([START, OTHER]) & ~found[NEXT].isin([END, OTHER])]
    if inner.empty:
        return None
    top = records(inner.sort_values("share", ascending=False, kind="stable")[:1])[0]
    shares = found.assign(share=found["share"].mask(found["hidden"])).pivot(index=NODE, columns=NEXT, values="share")
    order = [one for one in [START, *found[NODE].unique()] if one in shares.index]
    rows = list(dict.fromkeys(order))
    columns = [*(one for one in rows if one in shares.columns and one != START), END]
    cells = numbers(shares.reindex(index=rows, columns=columns))
    told = {"node": step_name(top.node, words), "next": step_name(top.next_node, words)}
    texts = [["" if np.isnan(one) else f"{100 * one:.0f}" for one in line] for line in cells]
    numbered = [f"{place} {step_name(name, words)}" for place, name in enumerate(rows, start=1)]
    places = {name: str(place) for place, name in enumerate(rows, start=1)}
    svg = heat(cells, rows=numbered, columns=[places.get(name, "→") for name in columns], texts=texts,
               title=words("paths.follows_figure"), description=words("paths.follows_figure"), cell_inches=0.34,
               column_title=words("paths.follows_columns"))  # fmt: skip
    listed = [
        [step_name(row.node, words), step_name(row.next_node, words), whole(row.visits),
         HIDDEN if row.hidden else interval(row.share, row.low, row.high, words)]
        for row in records(found.assign(visits=found["visits"].astype("Int64").mask(found["hidden"])))
    ]  # fmt: skip
    heads = [words(f"paths.{name}") for name in ("node", "next", "times", "share")]
    title = words("paths.follows_title", **told, share=words.fraction(float(top.share)))
    return Section(
        name="paths_follows",
        title=capital(title),
        text=words("paths.follows_text"),
        finding=capital(words("paths.follows_finding", **told, share=interval(top.share, top.low, top.high, words))),
        drawn=[Drawn(svg=svg, caption=words("paths.follows_figure"))],
        listed=[Listed(caption=words("paths.follows_table"), columns=heads, rows=listed)],
        defined=_defined(definition, words),
        tables={
            "transitions": found[~found["hidden"]][[NODE, NEXT, "visits", "base", "base_users", "share", "low", "high"]]
        },
    )
