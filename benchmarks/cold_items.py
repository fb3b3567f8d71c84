"""Items that nobody has met: does content place them where their buyers are?

    python benchmarks/cold_items.py FILE --draws 3 --json OUT

FILE is as ``benchmarks/sequence_file.py`` reads it, with attributes beside it. In each draw a share of the items is withheld:
none of their events takes part in the fit or stands in a query. Strict leave-one-out on the rest; users whose test target is a
withheld item ask for it among all items, and among the withheld ones alone. Everybody else shows what the newcomers
cost: the same towers, asked once with the withheld items as candidates and once without; with vectors as the towers learned
them; and with newcomers' vectors of other lengths, which show them more often or more seldom. How much content counts
(``content_events``) and that length were chosen on draws 10 and 11.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.result import write_result
from benchmarks.retrieval import config_for
from benchmarks.sequence_file import Problem, read
from features.content import ItemContent
from features.files import read_json, write_json
from features.sequences import Sequences
from features.splits import Holdout
from features.vocabulary import FIRST
from training.evaluation.baselines.attribute_knn import AttributeKNN
from training.evaluation.baselines.popularity import Popularity
from training.evaluation.bootstrap import mean_interval, paired_difference
from training.evaluation.metrics import RelevantItems, user_metrics
from training.evaluation.recommender import Recommender
from training.retrieval.content_prior import ContentPrior
from training.retrieval.ensemble import Towers
from training.retrieval.learn import Lesson, learn
from training.retrieval.recommender import TwoTowerRecommender

TOP_K: Final = 20
KEYS: Final = ("recall@10", "ndcg@10")
OURS: Final = "footfall"
LEARNED: Final = "footfall, vectors as learned"
NOT_SHOWN: Final = "newcomers not shown"
UNHIDDEN: Final = "footfall, ids never hidden, first draw"
CONTENT_EVENTS: Final = 2.0
NEW_ITEM_LENGTH: Final = 1.0  # the longest that cost known items nothing beyond chance
OTHER_LENGTHS: Final = (0.95, 1.05, 1.1)
NOTES: Final = {
    "cold": "target withheld, all items ranked",
    "among cold": "target withheld, withheld items ranked",
    "warm": "target known, all items ranked",
}

Bools = npt.NDArray[np.bool_]
Values = dict[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Draw:
    """A problem with some items withheld.

    Args:
        cold: which codes are withheld, bool ``[V]``.
        fit: histories without them.
        validation, test: queries without them; a target may be one.
    """

    cold: Bools
    fit: Sequences
    validation: Holdout
    test: Holdout

    @classmethod
    def of(cls, problem: Problem, *, share: float, seed: int) -> Draw:
        """Withhold a share of the items, drawn by seed."""
        rng = np.random.default_rng(seed)
        cold = np.zeros(problem.num_codes, bool)
        items = np.arange(FIRST, problem.num_codes)
        cold[rng.choice(items, round(share * len(items)), replace=False)] = True
        split = problem.split
        fit = split.fit.where(~cold[split.fit.item])
        return cls(cold=cold, fit=fit, validation=_without(split.validation, cold), test=_without(split.test, cold))


def _without(holdout: Holdout, cold: Bools) -> Holdout:
    query = holdout.query.where(~cold[holdout.query.item])
    asked = np.flatnonzero(query.lengths > 0)
    return Holdout(users=holdout.users[asked], query=query.take(asked), targets=holdout.targets.take(asked))


class RandomOrder:
    """Ranks candidates by chance."""

    def __init__(self, candidates: Bools, seed: int) -> None:
        self._popularity = Popularity(
            score=np.where(candidates, 0, -np.inf).astype(np.float32), candidates=candidates, seed=seed
        )
        self.name = "random"

    def recommend(self, query: Sequences, *, k: int, exclude_seen: bool) -> Any:
        """See ``Recommender``; all scores are equal, so that ties alone decide."""
        return self._popularity.recommend(query, k=k, exclude_seen=exclude_seen)


def towers_of(problem: Problem, draw: Draw, seed: int, *, id_dropout: float, work: Path | None) -> tuple[Towers, float]:
    """Learn one tower as ``retrieval.py`` does, ids hidden at random; return it and the CPU-seconds it took.

    What was learned in ``work`` before is read back from there.
    """
    config = config_for(problem, seed=seed, members=1)
    config = dataclasses.replace(config, tower=dataclasses.replace(config.tower, id_dropout=id_dropout))
    lesson = Lesson(
        fit=draw.fit,
        validation=draw.validation,
        catalog=problem.catalog,
        candidates=np.flatnonzero(problem.every_item),
        num_price_bands=1,
    )
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch) if work is None else work / f"draw-{seed}-hidden-{id_dropout}"
        cost, started = directory / "cpu_s.json", time.process_time()
        towers = learn(lesson, config, directory).towers
        if not cost.exists():
            write_json(cost, {"cpu_s": time.process_time() - started})
        return towers, float(read_json(cost)["cpu_s"])


Maker = Callable[[Bools], Recommender]


def baselines_of(problem: Problem, draw: Draw, seed: int) -> dict[str, Maker]:
    """Return a maker of each baseline over given candidates."""
    content = ItemContent.from_catalog(problem.catalog, num_title_buckets=1)
    return {
        "attribute-kNN": lambda shown: AttributeKNN.from_content(content, candidates=shown, decay=0.6, seed=seed),
        "popularity": lambda shown: Popularity.fit(draw.fit, candidates=shown, seed=seed),
        "random": lambda shown: RandomOrder(shown, seed),
    }


def footfalls_of(problem: Problem, draw: Draw, towers: Towers) -> dict[str, Maker]:
    """Return a maker of each way to make item vectors of the same towers, the benchmark's own first."""
    config = dataclasses.replace(config_for(problem, seed=0, members=1), content_events=CONTENT_EVENTS)
    prior = ContentPrior.of(problem.catalog, draw.fit.item, config)

    def maker(prior: ContentPrior | None) -> Maker:
        return lambda shown: TwoTowerRecommender.from_towers(towers, np.flatnonzero(shown), prior=prior)

    lengths = {OURS: NEW_ITEM_LENGTH} | {f"footfall, newcomers' length {length}": length for length in OTHER_LENGTHS}
    makers = {name: maker(dataclasses.replace(prior, new_item_length=length)) for name, length in lengths.items()}
    return makers | {LEARNED: maker(None)}


def ask(model: Recommender, holdout: Holdout, users: npt.NDArray[np.integer]) -> Values:
    """Return the metrics of each of the given users."""
    answers = model.recommend(holdout.query.take(users), k=TOP_K, exclude_seen=True)
    values = user_metrics(answers, RelevantItems.of(holdout.targets.take(users)))
    return {key: values[key] for key in KEYS}


def measure(
    problem: Problem, draw: Draw, seed: int, args: argparse.Namespace
) -> tuple[dict[tuple[str, str], Values], float]:
    """Return the metrics of each user by (model, question), and the cost of learning."""
    towers, cpu_s = towers_of(problem, draw, seed, id_dropout=args.id_dropout, work=args.work)
    footfalls = footfalls_of(problem, draw, towers)
    every, is_cold = problem.every_item, draw.cold[draw.test.targets.item]
    cold, warm = np.flatnonzero(is_cold), np.flatnonzero(~is_cold)
    found: dict[tuple[str, str], Values] = {}
    for name, make in (footfalls | baselines_of(problem, draw, seed)).items():
        found[name, "cold"] = ask(make(every), draw.test, cold)
        if "length" not in name:  # alike for all newcomers: among them it changes nothing
            found[name, "among cold"] = ask(make(draw.cold), draw.test, cold)
        found[name, "warm"] = ask(make(every), draw.test, warm)
    for name in (OURS, LEARNED):
        found[f"{name}, {NOT_SHOWN}", "warm"] = ask(footfalls[name](every & ~draw.cold), draw.test, warm)
    if seed == 0 and args.unhidden:
        towers, _ = towers_of(problem, draw, seed, id_dropout=0.0, work=args.work)
        found[UNHIDDEN, "warm"] = ask(footfalls_of(problem, draw, towers)[OURS](every), draw.test, warm)
    return found, cpu_s


def rows_of(draws: list[dict[tuple[str, str], Values]], cpu_s: list[float]) -> list[dict[str, Any]]:
    """Return a row a model and question, users of all draws together."""
    pooled = {
        which: {key: np.concatenate([found[which][key] for found in draws if which in found]) for key in KEYS}
        for which in draws[0]
    }
    rows = []
    for (name, question), values in pooled.items():
        bounds = {key: mean_interval(value) for key, value in values.items()}
        rows.append(
            {
                "model": name,
                "metrics": {key: interval.mean for key, interval in bounds.items()},
                "interval": {key: [interval.low, interval.high] for key, interval in bounds.items()},
                "per_seed": {
                    key: [float(f[name, question][key].mean()) for f in draws if (name, question) in f] for key in KEYS
                },
                "fit_cpu_s": float(np.mean(cpu_s)) if name == OURS else None,
                "question": question,
                "num_users": len(values[KEYS[0]]),
                "note": NOTES[question],
            }
        )
        if name != OURS:
            ours = (draws[0] if name == UNHIDDEN else pooled)[OURS, question]
            rows[-1]["difference"] = _differences(ours, values)  # footfall less this
    return rows


def _differences(ours: Values, theirs: Values) -> dict[str, dict[str, float]]:
    return {key: dataclasses.asdict(paired_difference(ours[key], theirs[key])) for key in KEYS}


def main() -> None:
    args = arguments()
    problem = read(args.file)
    draws, costs = [], []
    for seed in range(args.draws):
        found, cpu_s = measure(problem, Draw.of(problem, share=args.share, seed=seed), seed, args)
        draws.append(found)
        costs.append(cpu_s)
        print(seed, {which: round(float(values["recall@10"].mean()), 4) for which, values in found.items()})
    rows = rows_of(draws, costs)
    if args.json:
        write_result(
            args.json,
            benchmark="cold items",
            data=args.file.name,
            protocol=f"leave-one-out, strict; {args.share:.0%} of the items withheld from fit and queries",
            seeds=list(range(args.draws)),
            results=rows,
        )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--draws", type=int, default=3, help="of withheld items, each with a training of its own")
    parser.add_argument("--share", type=float, default=0.05, help="of the items that is withheld")
    parser.add_argument("--id-dropout", type=float, default=0.2, help="share of items whose id is hidden in a step")
    parser.add_argument("--unhidden", action="store_true", help="learn the first draw's towers without hiding ids too")
    parser.add_argument("--work", type=Path, help="keep learned towers here, and read back those learned before")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
