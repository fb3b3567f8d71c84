"""Hillstrom's e-mail experiment: what each arm brought, and how well uplift models find whom it moved.

    python -m benchmarks.hillstrom FILE --json OUT [--peer PYTHON]

FILE is a Parquet file of the 64,000 customers, as published. PYTHON is an interpreter with
``requirements-scikit-uplift.txt``, for that package's value of the same orders and for its own models on the same splits;
without it those rows are left out.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from benchmarks.result import write_result
from features.insight.experiments.estimates import ArmMean, effect
from features.insight.intervals import wilson
from features.insight.uplift.learners import BASES, LEARNERS, UpliftSettings
from features.insight.uplift.model import UpliftModel, average_effect
from features.insight.uplift.scores import Scoring, auuc, qini_coefficient, scores, uplift_at
from features.insight.uplift.trial import Trial

HERE: Final = Path(__file__).parent
NONE: Final = "No E-Mail"
ARMS: Final = {"mens": "Mens E-Mail", "womens": "Womens E-Mail"}
OUTCOMES: Final = ("visit", "conversion", "spend")
PUBLISHED: Final = {"Mens E-Mail": 0.183, "Womens E-Mail": 0.151, NONE: 0.106}  # visit rates
ATTRIBUTES: Final = ["recency", "history", "mens", "womens", "newbie", "zip_code", "channel"]
TEST_SHARE: Final = 0.3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--peer", type=Path, help="interpreter that has scikit-uplift")
    parser.add_argument("--seeds", type=int, default=10)
    words = parser.parse_args()
    customers = pd.read_parquet(words.file)
    rows = [arm_row(customers, arm) for arm in [*ARMS.values(), NONE]]
    for short, arm in ARMS.items():
        trial = customers[customers["segment"].isin([arm, NONE])].reset_index(drop=True)
        rows += [lift_row(trial, arm, outcome) for outcome in OUTCOMES]
        rows += model_rows(trial, arm, short, seeds=range(words.seeds), peer=words.peer)
    write_result(
        words.json,
        benchmark="hillstrom",
        data="Hillstrom, MineThatData E-Mail Analytics and Data Mining Challenge 2008: 64,000 customers, three arms",
        protocol=(
            "Lifts: each arm against none, Welch's intervals, shares with Wilson's. Models: outcome visit; 70% to fit, "
            "30% to score, split at random by arm and outcome, a split a seed; Qini and AUUC over those of a perfect "
            "order (scikit-uplift's qini_auc_score and uplift_auc_score), uplift of the first 30%."
        ),
        seeds=list(range(words.seeds)),
        results=rows,
    )


def arm_row(customers: pd.DataFrame, arm: str) -> dict[str, Any]:
    part = customers[customers["segment"] == arm]
    low, high = wilson(part["visit"].sum(), len(part))
    rate = float(part["visit"].mean())
    if round(rate, 3) != PUBLISHED[arm]:
        raise SystemExit(f"void: expected a visit rate of {PUBLISHED[arm]} in {arm}, found {rate:.4f}")
    metrics = {
        "visit_rate": rate,
        "conversion_rate": float(part["conversion"].mean()),
        "spend": float(part["spend"].mean()),
    }
    return {
        "model": "footfall", "metrics": metrics, "interval": {"visit_rate": [float(low), float(high)]},
        "config": {"arm": arm, "customers": len(part)}, "note": f"published visit rate {PUBLISHED[arm]}",
    }  # fmt: skip


def lift_row(trial: pd.DataFrame, arm: str, outcome: str) -> dict[str, Any]:
    """Return an arm's lift, plain and sharpened by what attributes explain."""
    values, treated = trial[outcome].to_numpy(float), (trial["segment"] == arm).to_numpy()
    found = effect(*(_mean(values[rows]) for rows in (treated, ~treated)))
    start = time.process_time()
    sharper = average_effect(trial[ATTRIBUTES], Trial(outcome=values, treated=treated))
    metrics = {"difference": found.difference, "lift": found.lift, "p": found.p, "adjusted": sharper["value"]}
    interval = {
        "difference": [found.low, found.high],
        "lift": [found.lift_low, found.lift_high],
        "adjusted": [sharper["low"], sharper["high"]],
    }
    return {
        "model": "footfall", "metrics": metrics, "interval": interval, "fit_cpu_s": time.process_time() - start,
        "config": {"arm": arm, "against": NONE, "outcome": outcome}, "note": "adjusted: doubly robust, cross-fitted",
    }  # fmt: skip


def model_rows(trial: pd.DataFrame, arm: str, short: str, *, seeds: range, peer: Path | None) -> list[dict[str, Any]]:
    """Return a row a model, ours and the peer's, over the same splits."""
    parts, cpu = zip(*(scored_split(trial, arm, seed) for seed in seeds), strict=True)
    frame = pd.concat(parts)
    own = pd.DataFrame(
        [
            {"seed": seed, "model": name.removeprefix("score_"), **_scored(test, test[name])}
            for seed, test in frame[frame["test"]].groupby("seed")
            for name in frame
            if name.startswith("score_")
        ]
    )
    cpu_s = pd.DataFrame(cpu).mean()
    rows = [_row(part, name, arm, cpu_s.get(name)) for name, part in own.groupby("model", sort=False)]
    _add_interval(rows, frame, short)
    return rows if peer is None else [*rows, *_peer_rows(frame, own, rows, arm, peer)]


def scored_split(trial: pd.DataFrame, arm: str, seed: int) -> tuple[pd.DataFrame, dict[str, float]]:
    """Return the customers of one split, scored by each learner where they are in the test part, and CPU-seconds."""
    test = _test_rows(trial, arm, seed)
    attributes = trial[ATTRIBUTES].assign(history=np.log(trial["history"]))
    whole = Trial(outcome=trial["visit"], treated=trial["segment"] == arm)
    fit = Trial(outcome=whole.outcome[~test], treated=whole.treated[~test])
    found = pd.DataFrame({"seed": seed, "test": test, "treated": whole.treated, "outcome": whole.outcome.astype(int)})
    cpu = {}
    for learner in LEARNERS:
        for base in BASES:
            name, start = f"{learner} {base}", time.process_time()
            model = UpliftModel.fit(attributes[~test], fit, UpliftSettings(learner=learner, base=base, seed=seed))
            found[f"score_{name}"] = model.uplift(attributes)
            cpu[name] = time.process_time() - start
    encoded = model.encoding(attributes)
    return found.assign(**{f"x_{number}": encoded[:, number] for number in range(encoded.shape[1])}), cpu


def _test_rows(trial: pd.DataFrame, arm: str, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    test = np.zeros(len(trial), bool)
    group = (trial["segment"] == arm).to_numpy() * 2 + trial["visit"].to_numpy()
    for number in np.unique(group):
        rows = rng.permutation(np.flatnonzero(group == number))
        test[rows[: round(TEST_SHARE * len(rows))]] = True
    return test


def _scored(test: pd.DataFrame, score: pd.Series) -> dict[str, float]:
    trial = Trial(outcome=test["outcome"], treated=test["treated"])
    return {
        "qini": qini_coefficient(trial, score, normalisation="perfect"),
        "auuc": auuc(trial, score, normalisation="perfect"),
        "uplift30": uplift_at(trial, score, 0.3),
    }


def _row(part: pd.DataFrame, name: str, arm: str, cpu_s: float | None, model: str = "footfall") -> dict[str, Any]:
    names = ["qini", "auuc", "uplift30"]
    return {
        "model": model,
        "metrics": {key: float(part[key].mean()) for key in names},
        "per_seed": {key: part[key].tolist() for key in names},
        "fit_cpu_s": None if cpu_s is None else float(cpu_s),
        "config": {"arm": arm, "order": name, "outcome": "visit"},
    }


def _add_interval(rows: list[dict[str, Any]], frame: pd.DataFrame, short: str) -> None:
    """Add the bootstrap interval of the first seed's Qini, and say that it is that."""
    test = frame[frame["test"] & (frame["seed"] == 0)]
    trial = Trial(outcome=test["outcome"], treated=test["treated"])
    for row in rows:
        found = scores(trial, test[f"score_{row['config']['order']}"], Scoring(normalisation="perfect"))
        first = found.iloc[0]
        row["interval"] = {"qini": [float(first["low"]), float(first["high"])]}
        row["note"] = f"{short}; interval: bootstrap of customers, seed 0, whose Qini is {first['value']:.4f}"


def _peer_rows(
    frame: pd.DataFrame, own: pd.DataFrame, rows: list[dict[str, Any]], arm: str, peer: Path
) -> list[dict[str, Any]]:
    """Ask scikit-uplift; state how far its value of our orders is from ours."""
    with tempfile.TemporaryDirectory() as name:
        customers, out = Path(name) / "customers.parquet", Path(name) / "out.json"
        frame.to_parquet(customers, index=False)
        subprocess.run([str(peer), str(HERE / "scikit_uplift_scores.py"), str(customers), str(out)], check=True)
        answer = json.loads(out.read_text(encoding="utf-8"))
    said, version = pd.DataFrame(answer["rows"]), answer["version"]
    both = own.merge(said, on=["seed", "model"], suffixes=("", "_peer"))
    for row in rows:
        part = both[both["model"] == row["config"]["order"]]
        row["metrics"]["qini_scikit_uplift"] = float(part["qini_peer"].mean())
        row["metrics"]["qini_most_apart"] = float((part["qini"] - part["qini_peer"]).abs().max())
        row["metrics"]["auuc_most_apart"] = float((part["auuc"] - part["auuc_peer"]).abs().max())
    theirs = said[~said["model"].isin(own["model"])]
    return [
        _row(part, name.split(" ", 1)[1], arm, None, f"scikit-uplift {version}")
        for name, part in theirs.groupby("model", sort=False)
    ]


def _mean(values: Any) -> ArmMean:
    return ArmMean(num_users=len(values), value=float(values.mean()), variance=float(values.var(ddof=1)) / len(values))


if __name__ == "__main__":
    main()
