"""What merchandising rules cost a recommendation, and what diversity costs its fit.

    nice -n 10 python benchmarks/rules.py --json OUT [--items 20000] [--users 4000] [--days 90] [--steps 400]

The shop is the frozen synthetic one, the release that of ``benchmarks/serving_world.py``: a two-layer tower that learned
from all but the last day. Cost is the median over requests of one customer each, in batches of 1 and of 32, in CPU time of the
one thread that computes: the time of the home page with rules less the time without, which is stated beside it. Fit is NDCG at 20 of
the items met on the last day; how much a list has in common is the mean cosine of its pairs.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from benchmarks.result import write_result
from benchmarks.serving_world import SmallShop, learn_towers, write_release
from features.vocabulary import FIRST
from serving.api.schemas import RecommendRequest
from serving.engine import Engine
from serving.experiments.arm import Arm
from serving.experiments.explore import Explore
from serving.live.settings import LiveSettings
from serving.live.sqlite_store import SqliteStore
from serving.merchandising.diversity import mmr_order
from serving.merchandising.house import Merchandising
from serving.merchandising.rules import (
    Ban,
    Boost,
    Cap,
    Diversity,
    Effect,
    Filter,
    Freshness,
    ItemMatch,
    Pin,
    Rule,
    RuleSet,
    When,
)
from serving.merchandising.stock import LiveStock, StockRow
from serving.privacy.erasures import ErasureWatch
from serving.release.state import ReleaseState
from serving.surfaces.answers import answer
from serving.surfaces.question import Question

_DAY_US: Final = 86_400_000_000
_K: Final = (20, 100)
_BATCHES: Final = (1, 32)
_POOL: Final = 200
_AT: Final = 20
_STRENGTHS: Final = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7)
_QUALITIES: Final = (200.0, 100.0, 50.0, 20.0, 10.0)
Floats = npt.NDArray[np.floating]


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    for name, value in (("items", 20_000), ("users", 4_000), ("days", 90), ("steps", 400), ("seconds", 2)):
        parser.add_argument(f"--{name}", type=int, default=value)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(Path(scratch), given)
        rows = [*bench.costs(), *bench.diversities()]
    write_result(
        given.json,
        benchmark="rules",
        data=f"synthetic shop: {given.items:,} items, {given.users:,} customers, {given.days} days",
        protocol=" ".join((__doc__ or "").split("The shop is")[1].split()),
        seeds=[0],
        results=rows,
    )


class Bench:
    """A release, an engine over it, and questions of its customers."""

    def __init__(self, scratch: Path, given: argparse.Namespace) -> None:
        shop = SmallShop.draw(num_items=given.items, num_users=given.users, num_days=given.days)
        until_us = int(shop.sequences.ts.max()) - _DAY_US
        self.late = shop.sequences.between(until_us, None)
        early = SmallShop(
            vocabulary=shop.vocabulary, catalog=shop.catalog, users=shop.users,
            sequences=shop.sequences.between(None, until_us),
        )  # fmt: skip
        store = write_release(early, learn_towers(early, scratch / "work", num_steps=given.steps), scratch / "store")
        self._seconds = given.seconds
        word = memoryview(bytearray(8)).cast("Q")  # workers share one
        self.rules, self.stock = RuleSet(), LiveStock(scratch / "stock.jsonl", word=word)
        self.shop, self.state = early, ReleaseState.load(store)
        self.now_us = until_us
        house = Merchandising(rules=lambda: self.rules, stock=self.stock, pool=_POOL, rng=np.random.default_rng(0))
        live = SqliteStore(scratch / "live.sqlite", LiveSettings())
        self.engine = Engine(
            self.state, live, ErasureWatch(store.erasures), wall=lambda: self.now_us, merchandising=house
        )
        known = np.flatnonzero(early.sequences.lengths > 0)
        self.users = [str(early.users.ids[row]) for row in known[:: max(1, len(known) // 512)][:512]]

    def questions(self, **request: Any) -> list[Question]:
        """Return a question of each customer."""
        found = [self.engine._prepare(RecommendRequest(user_id=user, **request)) for user in self.users]
        return [one for one in found if isinstance(one, Question)]

    def costs(self) -> list[dict[str, Any]]:
        """Return a row for each set of rules."""
        explore = Arm(variants={"e": "v"}, explore=Explore())
        rows = [self._cost("none", RuleSet())]
        rows += [self._cost(f"{num} rules", rule_set(*some_rules(num, self.shop))) for num in (1, 5, 20)]
        rows.append(self._cost("20 rules and diversity", rule_set(*some_rules(20, self.shop), Diversity(strength=0.3))))
        rows.append(self._cost("diversity alone", rule_set(Diversity(strength=0.3))))
        rows.append(self._cost("a filter that keeps a tenth", rule_set(self._narrow())))
        rows.append(self._cost("20 rules of another surface", rule_set(*some_rules(20, self.shop), surface="trending")))
        rows.append(self._cost("exploration", RuleSet(), arm=explore))
        for share in (0.01, 0.1):
            self._sell_out(share)
            rows.append(self._cost(f"{share:.0%} out of stock", RuleSet()))
        return rows

    def _cost(self, name: str, rules: RuleSet, arm: Arm | None = None) -> dict[str, Any]:
        self.rules = rules
        merchandiser, state = self.engine.merchandiser, self.state
        metrics: dict[str, float] = {}
        for k in _K:
            questions = self.questions(k=k)
            for size in _BATCHES:
                batches = [questions[at : at + size] for at in range(0, len(questions) - size + 1, size)]
                arms = [arm] * size
                plain, added = added_us(
                    lambda batch: answer(state, batch),
                    lambda batch, arms=arms: merchandiser.answer(batch, arms),
                    batches,
                    self._seconds,
                )
                metrics[f"without_us k={k} batch={size}"] = round(plain / size, 2)
                metrics[f"added_us k={k} batch={size}"] = round(added / size, 2)
            if not rules.rules and arm is None and not self.stock.rows():
                metrics[f"hook_us k={k}"] = round(self._hook(questions), 3)
        print(name, metrics, flush=True)
        return row(name, metrics, f"{len(rules.rules)} rules")

    def _hook(self, questions: Sequence[Question]) -> float:
        """What is paid where nothing is in force, without the noise of the ranking beside it."""
        merchandiser, singles = self.engine.merchandiser, [[question] for question in questions[:100]]
        ranked = answer(self.state, questions[:1])[0]

        def nothing(many: Sequence[list[Question]]) -> None:
            for one in many:
                merchandiser.plans(one)
                merchandiser.finisher.plain(one[0], ranked)

        return median_us(nothing, [singles], 1.0) / len(singles)

    def _narrow(self) -> Effect:
        names, counts = np.unique(
            [name.split("/")[0] for name in self.shop.catalog.category[FIRST:]], return_counts=True
        )
        nearest = np.abs(counts / counts.sum() - 0.1).argmin()
        return Filter(items=ItemMatch(category=(str(names[nearest]),)))

    def _sell_out(self, share: float) -> None:
        ids = self.shop.vocabulary.ids
        chosen = np.random.default_rng(1).permutation(len(ids))[: int(share * len(ids))]
        self.stock.add([StockRow(str(ids[row]), 0, "", 1) for row in chosen])

    def diversities(self) -> list[dict[str, Any]]:
        """Return a row for each way to spread a list, and each strength."""
        self.rules = RuleSet()
        self.stock.add([one._replace(stock=1, at_us=2) for one in self.stock.rows().values()])
        questions = self.questions(k=_POOL, repeat="allow")
        met = [set(self._met(user)) for user in self.users]
        lists = self.engine.merchandiser.answer(questions)
        kept = [
            (one.codes, one.scores, late) for one, late in zip(lists, met, strict=True) if late and len(one) >= _POOL
        ]
        ways: list[tuple[str, Callable[[Floats], npt.NDArray[np.int64]]]] = [
            (f"MMR, strength {one:g}", lambda vectors, one=one: mmr_order(vectors, strength=one, num=_AT)[:_AT])
            for one in _STRENGTHS
        ]
        ways += [
            (f"DPP, quality {one:g}", lambda vectors, one=one: dpp_order(vectors, quality=one)) for one in _QUALITIES
        ]
        return [self._diversity(name, order, kept) for name, order in ways]

    def _diversity(
        self, name: str, order: Callable[[Floats], npt.NDArray[np.int64]], kept: Sequence[tuple[Any, Any, set[int]]]
    ) -> dict[str, Any]:
        alike, fit, score, took = [], [], [], []
        for codes, scores, late in kept:
            vectors = self.state.index.vectors[codes]
            started = time.thread_time()
            rows = order(vectors)
            took.append(time.thread_time() - started)
            chosen = vectors[rows]
            alike.append(float((chosen @ chosen.T)[np.triu_indices(_AT, 1)].mean()))
            score.append(float(scores[rows].sum() / scores[:_AT].sum()))
            gains = np.array([code in late for code in codes[rows]]) / np.log2(np.arange(2, _AT + 2))
            fit.append(float(gains.sum() / (1 / np.log2(np.arange(2, min(len(late), _AT) + 2))).sum()))
        metrics = {
            "intra_list_cosine": float(np.mean(alike)),
            "score_kept": float(np.mean(score)),
            "ndcg@20": float(np.mean(fit)),
            "us": float(np.median(took) * 1e6),
        }
        metrics = {key: round(value, 4) for key, value in metrics.items()}
        print(name, metrics, flush=True)
        return row(name, metrics, f"{len(kept)} customers, pool of {_POOL}")

    def _met(self, user: str) -> list[int]:
        number = self.shop.users.code_of(user) - FIRST
        span = slice(int(self.late.offsets[number]), int(self.late.offsets[number + 1]))
        return [int(code) for code in self.late.item[span]]


def some_rules(num: int, shop: SmallShop) -> list[Effect]:
    """Return rules of all kinds, the commonest first: what a busy shop may have in force at once."""
    tops = sorted({name.split("/")[0] for name in shop.catalog.category[FIRST:] if name})
    brands = sorted({str(name) for name in shop.catalog.brand[FIRST:] if name})
    ids = [str(one) for one in shop.vocabulary.ids[:: max(1, len(shop.vocabulary.ids) // 40)]]
    kinds: list[Effect] = [Boost(items=ItemMatch(category=(tops[0],)), by=0.1)]
    for number in range(20):
        brand = ItemMatch(brand=(brands[number % len(brands)],))
        kinds += [
            Pin(places={ids[number]: 2 + 3 * number}),
            Ban(items=ItemMatch(items=(ids[-number - 1],))),
            Boost(items=brand, by=-0.1),
            Cap(of="category", most=4, first=20) if not number else Boost(items=brand, by=0.05),
            Freshness(by=0.1, half_life_days=14) if not number else Ban(items=ItemMatch(items=(ids[-number - 9],))),
        ]
    return kinds[:num]


def rule_set(*effects: Effect, surface: str = "") -> RuleSet:
    """Return rules that hold for everyone."""
    when = When(surfaces=(surface,)) if surface else When()  # type: ignore[arg-type]
    rules = tuple(Rule(name=f"rule {n}", effect=one, when=when) for n, one in enumerate(effects))
    return RuleSet(rules=rules, version=repr(rules))


def dpp_order(vectors: Floats, *, quality: float) -> npt.NDArray[np.int64]:
    """Greedy MAP of a determinantal point process whose quality falls with the rank (Chen et al. 2018, NeurIPS)."""
    m = len(vectors)
    fit = np.exp(0.5 * (1 - np.arange(m) / m) * m / quality).astype(np.float32)
    kernel = (vectors @ vectors.T) * fit[:, None] * fit[None, :]
    gain, factors = np.diagonal(kernel).copy(), np.zeros((_AT, m), np.float32)
    chosen = np.empty(_AT, np.int64)
    for place in range(_AT):
        item = chosen[place] = int(gain.argmax())
        if place + 1 < _AT:
            factors[place] = (kernel[item] - factors[:place].T @ factors[:place, item]) / np.sqrt(
                max(gain[item], 1e-12)
            )
            gain = gain - factors[place] ** 2
            gain[chosen[: place + 1]] = -np.inf
    return chosen


def median_us(call: Callable[[Any], object], arguments: Sequence[Any], seconds: float) -> float:
    """Return the median CPU microseconds of a call over its arguments in turn."""
    for argument in arguments[:3]:
        call(argument)
    took: list[float] = []
    begun = time.perf_counter()
    while time.perf_counter() - begun < seconds or len(took) < 5:
        argument = arguments[len(took) % len(arguments)]
        started = time.thread_time()
        call(argument)
        took.append(time.thread_time() - started)
    return float(np.median(took) * 1e6)


def added_us(
    without: Callable[[Any], object], with_rules: Callable[[Any], object], arguments: Sequence[Any], seconds: float
) -> tuple[float, float]:
    """Return the median CPU microseconds of one call, and of what the other takes more, each pair one after the other."""
    plain: list[float] = []
    more: list[float] = []
    begun = time.perf_counter()
    while time.perf_counter() - begun < seconds or len(plain) < 8:
        argument = arguments[len(plain) % len(arguments)]
        started = time.thread_time()
        without(argument)
        between = time.thread_time()
        with_rules(argument)
        plain.append(between - started)
        more.append(time.thread_time() - between - plain[-1])
    return float(np.median(plain[3:]) * 1e6), float(np.median(more[3:]) * 1e6)


def row(name: str, metrics: dict[str, float], note: str) -> dict[str, Any]:
    """Return a row of the result."""
    return {"model": name, "metrics": metrics, "interval": None, "per_seed": None, "fit_cpu_s": None,
            "fit_wall_s": None, "peak_mb": None, "config": {}, "note": note}  # fmt: skip


if __name__ == "__main__":
    main()
