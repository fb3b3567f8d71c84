"""What the retrieval page says in sentences; each follows from the figures, and claims no more than they bear."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from features.report.page import digits_for, percent, points

Row = Mapping[str, Any]
METRIC: Final = "recall@20"
CHAMPION: Final = "champion"
ASKED: Final = {
    "new": "what customers choose next that is new to them",
    "all": "what customers choose next, repeats counted",
}
# Rows of the release itself and of the one before it: no rivals.
OWN: Final = frozenset({"two-tower", "for_you", "buy it again", CHAMPION})
_CALLED: Final = {"two-tower": "the two-tower", "for_you": "the for_you list", CHAMPION: "the champion"}
_NAMED_CUTS: Final = 2
# Fewer customers than these are no group to speak of; a cut with nearly all of them is none either.
FEW_CUSTOMERS: Final = 10
_NEARLY_ALL: Final = 0.8
_CUTS_CALLED: Final = {
    "History length": "customers with {label}",
    "Customer lifecycle": "{label} customers",
    "Cold item": "items with {label}",
}
_LABELS_CALLED: Final = {
    "bestsellers": "bestsellers",
    "middle": "items of middling popularity",
    "rare": "rare items",
    "no event yet (cold)": "items that nobody has met yet",
    "repeat": "items that the customer knows",
    "new to the customer": "items new to the customer",
}


def page_title(report: Row) -> str:
    """Return the answer in one sentence: what our model finds beside the best baseline.

    A report of baselines alone says what the best of them finds beside popularity.
    """
    table = report["tables"][0]
    rows = by_model(table)
    ours = lead_of(report, table)
    lead = ours or _best(rows, rows)
    first = f"{_capital(called(lead))} finds {_percent(rows[lead])} of {ASKED[table['name']]}"
    others = rivals(report, table) if ours else [name for name in ("popularity",) if name in rows and name != lead]
    if not others:
        return first
    rival = _best(rows, others)
    found = rows[rival]["difference"]
    if found is not None and found[METRIC]["low"] <= 0 <= found[METRIC]["high"]:
        return f"{first}, which cannot be told apart from {called(rival)} ({_percent(rows[rival])})"
    return f"{first}; {called(rival)} finds {_percent(rows[rival])}"


def _best(rows: Mapping[str, Row], names: Iterable[str]) -> str:
    return max(names, key=lambda name: mean_of(rows[name]))


def summary(report: Row) -> str:
    """Return what the headline figure is, in words."""
    table = report["tables"][0]
    return (
        f"Recall@20 over {table['num_users']:,} customers: of all items that a customer chose in the test window, "
        "the share that stood among 20 suggestions made from the history before it. Every model ranks the same "
        f"{report['protocol']['num_candidates']:,} items."
    )


def in_short(report: Row) -> list[dict[str, str]]:
    """Return what a merchandiser needs: how our model stands in each table, then for whom it works and for whom not.

    Each has a ``text`` and a ``kind``: better, worse or even, beyond the paired interval.
    """
    found = [sentence for table in report["tables"] for sentence in standing(report, table)]
    return found + (for_whom(report, report["tables"][0]) if report["tables"] else [])


def standing(report: Row, table: Row) -> list[dict[str, str]]:
    """Return how our model stands against the best baseline, and against the champion."""
    lead = lead_of(report, table)
    if lead is None:
        return []
    rows, sentences = by_model(table), []
    first = f"Of {ASKED[table['name']]}, {called(lead)} finds {_percent(rows[lead])} in 20 suggestions"
    if others := rivals(report, table):
        best = _best(rows, others)
        found = rows[best]["difference"][METRIC]
        sentences.append({"kind": kind_of(found), "text": f"{first}, {_beside(found, _the_best(best), rows[best])}."})
    # The champion's row is its two-tower: beside a blended list it would not be like for like.
    if CHAMPION in rows and lead == report["ours"]:
        found = rows[CHAMPION]["difference"][METRIC]
        text = f"{first}, {_beside(found, 'the two-tower that is served now', rows[CHAMPION])}."
        sentences.append({"kind": kind_of(found), "text": text})
    return sentences


def for_whom(report: Row, table: Row) -> list[dict[str, str]]:
    """Return where our model is clearly ahead of every other and where behind one: by intervals that do not meet."""
    lead = lead_of(report, table)
    others = rivals(report, table)
    if lead is None or not others:
        return []
    cuts = [_Cut.of(part, lead, others) for part in _groups(table)]
    where = "among items new to the customer" if table["name"] == "new" else "with repeats counted"
    return [_works(cuts, where), _fails(cuts, where)] if cuts else []


def rivals(report: Row, table: Row) -> list[str]:
    """Return the baselines: the models that are neither of this release nor of the champion."""
    own = OWN | {lead_of(report, table), report["ours"]}
    return [row["model"] for row in table["rows"] if row["model"] not in own]


def lead_of(report: Row, table: Row) -> str | None:
    """Return the model that the table compares with the others: the first, where one of ours is there."""
    return None if report["ours"] is None else str(table["rows"][0]["model"])


def by_model(table: Row) -> dict[str, Row]:
    """Return the rows of a table by model."""
    return {row["model"]: row for row in table["rows"]}


def kind_of(difference: Row) -> str:
    """Return better, worse or even, by an interval of a difference."""
    return "better" if difference["low"] > 0 else "worse" if difference["high"] < 0 else "even"


def mean_of(row: Row) -> float:
    """Return a model's headline figure."""
    return float(row["metrics"][METRIC]["mean"])


def called(model: str) -> str:
    """Return a model's name as a sentence has it.

    >>> called("two-tower"), called("EASE")
    ('the two-tower', 'EASE')
    """
    return _CALLED.get(model, model)


def _beside(found: Row, rival: str, row: Row) -> str:
    digits = digits_for(abs(found["mean"]))
    size = percent(abs(found["mean"]), digits).removesuffix("%")
    interval = f"95% interval {points(found['low'], digits)} to {points(found['high'], digits)}"
    kind = kind_of(found)
    if kind == "even":
        return f"which cannot be told apart from {rival} ({_percent(row)}; {interval} points)"
    return f"{size} points {'more' if kind == 'better' else 'fewer'} than {rival} ({interval})"


def _the_best(model: str) -> str:
    return f"the best baseline, {model}"


@dataclass(frozen=True, kw_only=True)
class _Cut:
    """One cut, ours and the best baseline in it, and whether their intervals meet."""

    name: str
    ours: float
    best: float
    ahead: bool
    behind: bool

    @classmethod
    def of(cls, part: Row, lead: str, others: Sequence[str]) -> _Cut:
        ours, rest = part[METRIC][lead], [part[METRIC][name] for name in others]
        return cls(
            name=_called_cut(part),
            ours=ours["mean"],
            best=max(found["mean"] for found in rest),
            ahead=ours["low"] > max(found["high"] for found in rest),
            behind=ours["high"] < max(found["low"] for found in rest),
        )

    def __str__(self) -> str:
        word = "next best" if self.ours > self.best else "best"
        return f"{self.name} ({percent(self.ours)}, {word} {percent(self.best)})"


def _works(cuts: Sequence[_Cut], where: str) -> dict[str, str]:
    ordered = sorted(cuts, key=lambda cut: cut.best - cut.ours)
    if ahead := [str(cut) for cut in ordered if cut.ahead][:_NAMED_CUTS]:
        return {"kind": "better", "text": f"It works best for {' and for '.join(ahead)}, {where}."}
    if ordered[0].ours > ordered[0].best:
        return {
            "kind": "even",
            "text": f"It is furthest ahead for {ordered[0]}, {where}, though not beyond their intervals.",
        }
    return {"kind": "even", "text": f"It is ahead of all others in no group, {where}."}


def _fails(cuts: Sequence[_Cut], where: str) -> dict[str, str]:
    ordered = sorted(cuts, key=lambda cut: cut.ours - cut.best)
    if behind := [str(cut) for cut in ordered if cut.behind][:_NAMED_CUTS]:
        return {"kind": "worse", "text": f"It falls behind for {' and for '.join(behind)}, {where}."}
    weakest = min(cuts, key=lambda cut: cut.ours)
    return {
        "kind": "even",
        "text": f"It is clearly behind in no group; it finds least, {percent(weakest.ours)}, for {weakest.name}.",
    }


def _groups(table: Row) -> list[Row]:
    """Return the cuts that are worth a sentence."""
    most = _NEARLY_ALL * table["num_users"]
    return [part for part in table["slices"] if FEW_CUSTOMERS <= part["num_users"] <= most]


def _called_cut(part: Row) -> str:
    """Return a cut in words.

    >>> _called_cut({"group": "History length", "label": "up to 9 events"})
    'customers with up to 9 events'
    >>> _called_cut({"group": "Item popularity", "label": "rare: the last fifth of events"})
    'rare items'
    """
    label = part["label"].split(":")[0]
    if label in _LABELS_CALLED:
        return _LABELS_CALLED[label]
    return _CUTS_CALLED.get(part["group"], part["group"].lower() + " “{label}”").format(label=label)


def _percent(row: Row) -> str:
    return percent(mean_of(row), digits_for(mean_of(row)))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
