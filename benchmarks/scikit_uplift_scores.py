"""What the package scikit-uplift says: Qini of given orders, and of its own models on the same customers.

Run by ``hillstrom.py`` in an environment of its own (``requirements-scikit-uplift.txt``): it imports nothing of Footfall.

    python scikit_uplift_scores.py CUSTOMERS OUT

CUSTOMERS is a Parquet file with ``seed, test, treated, outcome``, one ``score_*`` column an order (of test rows), and one
``x_*`` column an attribute. Writes ``OUT``, JSON: ``{"version", "rows": [{"seed", "model", "qini", "auuc", "uplift30"}]}``.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklift.metrics import qini_auc_score, uplift_at_k, uplift_auc_score
from sklift.models import ClassTransformation, SoloModel, TwoModels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("customers", type=Path)
    parser.add_argument("out", type=Path)
    words = parser.parse_args()
    warnings.filterwarnings("ignore")
    rows: list[dict[str, Any]] = []
    for seed, part in pd.read_parquet(words.customers).groupby("seed"):
        fit, test = part[~part["test"]], part[part["test"]]
        orders = {name.removeprefix("score_"): test[name].to_numpy() for name in part if name.startswith("score_")}
        for name, score in (orders | own_models(fit, test)).items():
            rows.append({"seed": int(seed), "model": name, **scored(test, score)})
    version = importlib.metadata.version("scikit-uplift")
    words.out.write_text(json.dumps({"version": version, "rows": rows}), encoding="utf-8")


def own_models(fit: pd.DataFrame, test: pd.DataFrame) -> dict[str, Any]:
    """Return the orders of the package's models over logistic regression."""
    names = [name for name in fit if name.startswith("x_")]
    models = {
        "scikit-uplift TwoModels": TwoModels(
            LogisticRegression(max_iter=1000), LogisticRegression(max_iter=1000), method="vanilla"
        ),
        "scikit-uplift SoloModel": SoloModel(LogisticRegression(max_iter=1000), method="treatment_interaction"),
        "scikit-uplift ClassTransformation": ClassTransformation(LogisticRegression(max_iter=1000)),
    }
    return {
        name: model.fit(fit[names], fit["outcome"], fit["treated"].astype(int)).predict(test[names])
        for name, model in models.items()
    }


def scored(test: pd.DataFrame, score: Any) -> dict[str, float]:
    y, treated = test["outcome"].to_numpy(), test["treated"].to_numpy().astype(int)
    return {
        "qini": float(qini_auc_score(y, score, treated)),
        "auuc": float(uplift_auc_score(y, score, treated)),
        "uplift30": float(uplift_at_k(y, score, treated, strategy="overall", k=0.3)),
    }


if __name__ == "__main__":
    main()
