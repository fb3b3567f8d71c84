"""Error rates of randomised tests over seeded worlds whose effect is planted.

    python benchmarks/experiments.py --json OUT [--worlds 1000] [--shops 16]

Protocol: a shop's test has 6,000 customers with rates of orders from a gamma of shape 0.7, order values lognormal
(sigma 1, and 0.5 between customers), a tenth without a past, 14 days after the assignment and 56 before; planted are
10% more orders (of a customer of mean responsiveness, which is a gamma of shape 2), 3% dearer ones and 5% more
clicks. A campaign is the synthetic shop's own (its customers, assignment, message and days of visits), 4,000
customers, 7 days after and 28 before. coverage: share of the 95% intervals that contain the planted effect (interval:
Wilson, 95%). width_ratio: median width over that of the oracle, which knows what each customer is expected to do in
either arm, leaves nothing but the dice, and knows their variance exactly. width_over_plain: median over worlds;
predicted: sqrt(1 - correlation^2), the correlation of past and present within an arm. Looks: 20 equal ones, in order
of arrival; false_positives: share of worlds without effect (three times as many) in which 0 lies outside at any look,
by metric and their mean; power: at the effect that one look at the end finds 4 times in 5. Synthetic shops: campaigns
of whole shops of 3,000 customers, through the event log's tables, users' tags and days with a visit; their truth is
the generator's (visits that a message brings are all logged in, so the log shows them)
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.experiment_rows import Tally, Z, estimated, interval_of, interval_row, row, share_of
from benchmarks.experiment_shops import campaigns_of_shop
from benchmarks.experiment_worlds import Drawn, Known, Shop, draw_campaign, draw_shop, known
from benchmarks.result import write_result
from features.engine import private_connection
from features.insight.experiments.balance import ALARM_P, sample_ratio_p
from features.insight.experiments.corrections import benjamini_hochberg, holm
from features.insight.experiments.looks import SPENDINGS, Looks
from features.insight.experiments.planning import Baseline, Plan, least_lift, power_of
from features.insight.experiments.results import Method, means_by
from features.insight.experiments.samples import Sample
from features.settings import EngineSettings

Floats = npt.NDArray[np.float64]
SHOP: Final = Shop()
UNEVEN: Final = Shop(share=0.2)
METHODS: Final[tuple[Method, ...]] = ("plain", "cuped")
NUM_LOOKS: Final = 20
NULL_TIMES: Final = 3  # so many times the worlds where nothing is planted: 1,000 tell 5% from 6% only just


def oracle_of_shop(drawn: Drawn, name: str, facts: Known) -> tuple[float, float, float]:
    """The oracle's estimate of a mean and its interval (see ``known``)."""
    sample, (above, _) = drawn.samples[name], drawn.expected[name]
    rest = sample.value - np.where(sample.arm == 1, above[1], above[0])
    found = float((above[1] - above[0]).mean() + rest[sample.arm == 1].mean() - rest[sample.arm == 0].mean())
    return around(found, facts.oracle_se)


def around(found: float, se: float) -> tuple[float, float, float]:
    return found, found - Z * se, found + Z * se


def coverage_rows(shop: Shop, worlds: int, *, facts: dict[str, Known], label: str) -> list[dict[str, Any]]:
    tallies: dict[tuple[str, str], Tally] = {}
    for seed in range(worlds):
        drawn = draw_shop(shop, seed)
        for name, sample in drawn.samples.items():
            for method in METHODS:
                tallies.setdefault((name, method), Tally()).add(facts[name].effect, *interval_of(sample, method))
            if name in ("conversion", "orders", "revenue"):
                oracle = oracle_of_shop(drawn, name, facts[name])
                tallies.setdefault((name, "oracle"), Tally()).add(facts[name].effect, *oracle)
    return [
        interval_row(name, method, tally, tallies, oracle_width=2 * Z * facts[name].oracle_se, label=label)
        | {"predicted": {"width_over_plain": float(np.sqrt(1 - facts[name].correlation ** 2))}}
        for (name, method), tally in tallies.items()
    ]


def campaign_rows(worlds: int) -> list[dict[str, Any]]:
    tallies = {("visits", method): Tally() for method in ("plain", "cuped", "oracle")}
    widths, correlations = [], []
    for seed in range(worlds):
        drawn = draw_campaign(seed)
        sample, (above, _) = drawn.samples["visits"], drawn.expected["visits"]
        rest = sample.value - np.where(sample.arm == 1, above[1], above[0])
        parts = [rest[sample.arm == arm] for arm in (0, 1)]
        se = float(np.sqrt(sum(part.var() / len(part) for part in parts)))
        oracle = around(drawn.truth["visits"] + float(parts[1].mean() - parts[0].mean()), se)
        tallies["visits", "oracle"].add(drawn.truth["visits"], *oracle)
        widths.append(2 * Z * se)
        correlations.append(means_by(sample, "cuped").correlation)
        for method in METHODS:
            tallies["visits", method].add(drawn.truth["visits"], *interval_of(sample, method))
    predicted = float(np.median(np.sqrt(1 - np.square(correlations))))
    return [
        interval_row(name, method, tally, tallies, oracle_width=np.array(widths), label="campaign")
        | {"predicted": {"width_over_plain": predicted}}
        for (name, method), tally in tallies.items()
    ]


def look_rows(worlds: int, facts: dict[str, Known]) -> list[dict[str, Any]]:
    """Twenty looks without effect, and with one that a single look finds four times in five."""
    schedules = {kind: Looks(number=NUM_LOOKS, users=SHOP.num_users, spending=kind) for kind in SPENDINGS}
    chosen = (("conversion", "cuped"), ("orders", "cuped"), ("revenue", "plain"), ("clicks_per_view", "cuped"))
    null = Shop(order_lift=0, basket_lift=0, click_lift=0)
    drift = Plan().drift
    fact = facts["orders"]
    lift = drift * fact.plain_se * np.sqrt(1 - fact.correlation**2) / fact.mean
    planted = Shop(order_lift=float(lift), basket_lift=0, click_lift=0)
    seen = {
        "null": list(looked_at(null, NULL_TIMES * worlds, schedules, chosen)),
        "planted": list(looked_at(planted, worlds, schedules, (("orders", "cuped"),))),
    }
    rows = []
    for kind, looks in schedules.items():
        metrics: dict[str, float] = {}
        intervals = {}
        for name, _ in chosen:
            outside = np.array([world[name, kind] for world in seen["null"]])
            key = f"false_positives_{name}"
            metrics[key], intervals[key] = share_of(int((outside > 0).sum()), len(outside))
        metrics["false_positives"] = float(np.mean([metrics[f"false_positives_{name}"] for name, _ in chosen]))
        stopped = np.array([world["orders", kind] for world in seen["planted"]])
        metrics["power"], intervals["power"] = share_of(int((stopped > 0).sum()), worlds)
        metrics["mean_users_at_stop"] = float(np.where(stopped > 0, stopped, NUM_LOOKS).mean() / NUM_LOOKS)
        config = {"looks": NUM_LOOKS, "users": SHOP.num_users, "spending": kind, "lift": float(lift), "worlds": worlds}
        found = row("footfall", metrics, interval=intervals, config=config, note="power of one look at the end: 0.8")
        rows.append(
            found
            | {"predicted": {"false_positives": float(looks.power(0)[-1]), "power": float(looks.power(drift)[-1])}}
        )
    return rows


def looked_at(
    shop: Shop, worlds: int, schedules: dict[Any, Looks], chosen: Any
) -> Iterator[dict[tuple[str, str], int]]:
    """Yield, world by world, the first look whose interval lies beside 0; 0 where none does."""
    for seed in range(worlds):
        drawn = draw_shop(shop, 10**6 + seed)
        first = {(name, kind): 0 for name, _ in chosen for kind in schedules}
        for name, method in chosen:
            for look, users in enumerate(next(iter(schedules.values())).at_users, start=1):
                one = estimated(drawn.samples[name].take(slice(0, users)), method)
                for kind, looks in schedules.items():
                    if not first[name, kind] and abs(one.difference) > looks.reach(look, one.dof) * one.se:
                        first[name, kind] = look
        yield first


def ratio_rows(worlds: int) -> list[dict[str, Any]]:
    """The sample-ratio alarm: of arms dealt as meant, and of one that lost two users in a hundred."""
    rng, rows = np.random.default_rng(3), []
    for kept, name in ((1.0, "dealt as meant"), (0.98, "2% of one arm lost")):
        alarms = sum(
            sample_ratio_p([rng.binomial(100_000, 0.5), rng.binomial(100_000, 0.5 * kept)], [0.5, 0.5]) < ALARM_P
            for _ in range(worlds)
        )
        found, bounds = share_of(int(alarms), worlds)
        config = {"users": 100_000, "worlds": worlds, "case": name}
        rows.append(
            row("footfall", {"sample_ratio_alarms": found}, interval={"sample_ratio_alarms": bounds}, config=config)
        )
    return rows


def correction_rows(worlds: int) -> list[dict[str, Any]]:
    """Twenty metrics, five of them with an effect: false discoveries among those found, and worlds with any."""
    real = np.arange(20) < 5
    shares: dict[str, list[tuple[float, bool, float]]] = {"benjamini_hochberg": [], "holm": [], "none": []}
    for seed in range(worlds):
        rng = np.random.default_rng([seed, 17])
        arm = rng.integers(0, 2, 1000)
        rate = rng.gamma(1.0, 1.0, 1000)
        p = np.array([
            estimated(Sample(arm=arm, num_arms=2, value=rng.poisson(rate * np.where(arm & one, 1.3, 1.0)).astype(float)), "plain").p
            for one in real
        ])  # fmt: skip
        for name, adjusted in (("benjamini_hochberg", benjamini_hochberg(p)), ("holm", holm(p)), ("none", p)):
            found = adjusted <= 0.05
            wrong = int((found & ~real).sum())
            shares[name].append((wrong / max(int(found.sum()), 1), wrong > 0, float((found & real).sum() / real.sum())))
    return [
        row(
            "footfall",
            {
                "false_discovery_share": float(np.mean([one[0] for one in found])),
                "worlds_with_a_false_one": float(np.mean([one[1] for one in found])),
                "real_ones_found": float(np.mean([one[2] for one in found])),
            },
            config={"metrics": 20, "with_effect": 5, "correction": name, "worlds": worlds},
        )
        for name, found in shares.items()
    ]


def planning_row(worlds: int, facts: dict[str, Known]) -> dict[str, Any]:
    """The power that planning promises from one earlier test, and the share of later tests that find the effect."""
    base = Baseline.of_sample(draw_shop(replace(SHOP, order_lift=0, basket_lift=0), 1).samples["orders"])
    lift = least_lift(base, SHOP.num_users, Plan())
    shop = Shop(order_lift=lift, basket_lift=0, click_lift=0)
    hits = sum(
        estimated(draw_shop(shop, 2 * 10**6 + seed).samples["orders"], "cuped").p < 0.05 for seed in range(worlds)
    )
    found, bounds = share_of(int(hits), worlds)
    promised = power_of(base, lift, SHOP.num_users, Plan())
    note = "the past of one world of 6,000 customers is all that planning knew"
    config = {"metric": "orders", "lift": lift, "worlds": worlds, "true_correlation": facts["orders"].correlation}
    return row("footfall", {"power": found}, interval={"power": bounds}, config=config, note=note) | {
        "predicted": {"power": promised}
    }


def shop_rows(shops: int, work: Path) -> list[dict[str, Any]]:
    """Randomised campaigns of whole synthetic shops, from the log's tables."""
    tallies = {("visit_days", method): Tally() for method in ("plain", "cuped")}
    for seed in range(shops):
        with private_connection(EngineSettings(threads=1, memory_limit="1GB"), beside=work) as connection:
            for truth, found in campaigns_of_shop(connection, work / f"shop{seed}", seed):
                for method, one in found.items():
                    tallies["visit_days", method].add(truth, one["difference"], one["low"], one["high"])
        shutil.rmtree(work / f"shop{seed}")
    return [
        interval_row(name, method, tally, tallies, oracle_width=None, label="synthetic shop, whole log")
        for (name, method), tally in tallies.items()
        if shops
    ]


def results(worlds: int, shops: int, work: Path, *, many: int = 2_000_000) -> list[dict[str, Any]]:
    facts = known(SHOP, num_users=many)
    stages = {
        "shop": lambda: coverage_rows(SHOP, worlds, facts=facts, label="shop, half and half"),
        "uneven": lambda: coverage_rows(
            UNEVEN, worlds, facts=known(UNEVEN, num_users=many), label="shop, one in five tried"
        ),
        "campaign": lambda: campaign_rows(worlds),
        "looks": lambda: look_rows(worlds, facts),
        "ratio": lambda: ratio_rows(worlds),
        "corrections": lambda: correction_rows(worlds),
        "planning": lambda: [planning_row(worlds, facts)],
        "shops": lambda: shop_rows(shops, work),
    }
    rows = []
    for name, stage in stages.items():
        wall = time.perf_counter()
        rows += stage()
        print(f"{name}: {time.perf_counter() - wall:.0f} s", file=sys.stderr)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--worlds", type=int, default=1000)
    parser.add_argument("--shops", type=int, default=16, help="whole synthetic shops; 0 for none")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        rows = results(words.worlds, words.shops, Path(scratch))
    write_result(
        words.json,
        benchmark="experiments",
        data="simulated, with planted effects",
        protocol=" ".join((__doc__ or "").split("Protocol: ")[1].split()),
        seeds=[0, words.worlds - 1],
        results=rows,
    )
    for found in rows:
        print(found["model"], json.dumps(found["config"]), json.dumps({k: round(v, 4) for k, v in found["metrics"].items()}),
              json.dumps(found.get("predicted", {})))  # fmt: skip


if __name__ == "__main__":
    main()
