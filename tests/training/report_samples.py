"""Reports as the evaluations write them, small and made up."""

from __future__ import annotations

import numpy as np

from training.evaluation.comparison import CURVE_KS

LONG = "ORGANIC-WHOLEGRAIN-SOURDOUGH/CRISPBREAD-WITH-SEEDS " * 2
DATA = {"source": "a test", "warning": "Invented <figures>.", "fingerprint": "f" * 64}
COMMON = {
    "format": 1,
    "created_at": "2024-01-01",
    "git_revision": "abc",
    "run_id": "r1",
    "part_version": "v1",
    "data": DATA,
}


def around(mean: float) -> dict[str, float]:
    return {"mean": mean, "low": mean - 0.004, "high": mean + 0.004}


def row(model: str, mean: float, difference: float | None) -> dict:
    names = [f"{name}@{k}" for k in (5, 10, 20) for name in ("recall", "capped_recall", "hit_rate", "ndcg", "mrr")]
    kinds = ("coverage", "novelty", "mean_popularity", "diversity", "gini", "popularity_lift", "calibration_kl")
    lists = {f"{name}@{k}": 0.3 for k in (5, 10, 20) for name in kinds}
    return {
        "model": model,
        "metrics": {name: around(mean) for name in names},
        "difference": None if difference is None else {name: around(difference) for name in names},
        "lists": lists,
        "curve": {str(k): mean * k / 20 for k in CURVE_KS},
        "mean_list_length": 20.0,
        "seconds": 0.1,
        "cost": {"fit_wall_s": None, "fit_cpu_s": 1.5, "answer_wall_s": 0.1, "answer_cpu_s": 0.1},
    }


def retrieval_report(**changes) -> dict:
    models = {"two-tower": 0.062, "item-kNN": 0.05, "popularity": 0.0213}
    rows = [row(name, mean, None if name == "two-tower" else 0.062 - mean) for name, mean in models.items()]
    slices = [
        {"group": group, "label": label, "num_users": 1200, "recall@20": {name: around(0.05) for name in models}}
        for group, label in (("History length", "up to 9 events"), ("History length", "over 9 events"))
    ]
    tables = [
        {"name": name, "num_users": 1982, "num_answers": 57551, "rows": rows, "slices": slices}
        for name in ("new", "all")
    ]
    items = [{"title": LONG, "hit": hit} for hit in (True, False)]
    customer = {
        "customer": "ab12cd34",
        "num_events": 12,
        "history": items,
        "answers": items,
        "num_answers": 5,
        "lists": {"two-tower": items, "item-kNN": items},
    }
    return (
        COMMON
        | {
            "kind": "retrieval",
            "shop": "Corner & Sons",
            "ours": "two-tower",
            "protocol": {"label": "global temporal split", "num_candidates": 62855, "facts": {"Protocol": "time"}},
            "resamples": 1000,
            "tables": tables,
            "oracle": [{"name": "new", "recall@20": 0.1, "share_of_oracle": {"two-tower": around(0.62)}}],
            "learning_curve": [
                {"metric": "validation_ndcg@10", "points": [[10, 0.01], [20, 0.03]]},
                {"metric": "loss", "points": [[10, 5.1], [20, 4.9]]},
            ],
            "training": {
                "steps": 20,
                "fit_wall_s": 9.0,
                "fit_cpu_s": 8.5,
                "tokens_per_second": 25_000,
                "part_bytes": 530_000,
            },
            "examples": [customer] * 3,
        }
        | changes
    )


def demand_report(**changes) -> dict:
    metrics = {"wape": 0.7, "rmsse": 0.9, "bias": -0.02, "pit80": 0.81}
    metrics |= {"service90": 0.9, "stock90": 4.2, "service95": 0.94, "stock95": 5.5}
    models = [
        {"model": name, "metrics": metrics | {"wql": wql}, "low": wql - 0.01, "high": wql + 0.01, "less_gate": less}
        for name, wql, less in (("footfall", 0.55, [-0.05, -0.06, -0.04]), ("empirical_quantiles", 0.6, None))
    ]
    days = [str(day) for day in np.arange("2024-01-01", "2024-03-11", dtype="datetime64[D]")]
    item = {
        "title": LONG,
        "class": "lumpy",
        "past_days": days[:56],
        "past_units": [None, *[float(n % 7) for n in range(55)]],
        "days": days[56:],
        "quantiles": {f"0.{level}": [float(level)] * 14 for level in range(1, 10)},
        "decision": {"reorder_point": 12.0, "lead_time_days": 7.0},
    }
    return (
        COMMON
        | {
            "kind": "demand",
            "shop": "Corner & Sons",
            "ours": "footfall",
            "gate": "empirical_quantiles",
            "protocol": {
                "num_items": 999,
                "num_windows": 2,
                "horizon": 14,
                "period": "day",
                "facts": {"Protocol": "rolling"},
            },
            "service_levels": ["90", "95"],
            "models": models,
            "pit": [0.1] * 10,
            "items": [item] * 3,
        }
        | demand_details(item)
        | changes
    )


def demand_details(item: dict) -> dict:
    """Everything of the demand page beside its headline."""
    names = ("footfall", "empirical_quantiles")
    shares = {"pit80": 0.82, "service90": 0.91, "service95": 0.955}
    effect = {"uplift": 1.5, "low": 1.3, "high": 1.75, "num_item_days": 1200, "num_items": 80, "note": ""}
    curve = [{"level": level, "service": level - 0.01, "stock": 10 * level} for level in (0.5, 0.9, 0.99)]
    row = {
        "item_id": "i7",
        "title": LONG,
        "action": "order",
        "quantity": 12,
        "day": "2024-03-12",
        "reason": "3 <left>.",
    }
    return {
        "calibration": {"before": shares | {"pit80": 0.77}, "after": shares},
        "classes": [
            {"class": "lumpy", "num_items": 640, "models": {name: {"wql": 0.7, "pit80": 0.8} for name in names}}
        ],
        "buyers": [
            {
                "title": "Growth stage",
                "note": "Not shown: 1 group of fewer than 10 customers.",
                "rows": [
                    {
                        "label": "newcomer",
                        "share_of_units": 0.1,
                        "models": {name: {"wql": 0.5, "bias": -0.01} for name in names},
                    }
                ],
            }
        ],
        "windows": {"starts": ["1 Jan 2024", "15 Jan 2024"], "wql": {name: [0.5, 0.6] for name in names}},
        "steps": {name: [0.5, None, 0.6] for name in names},
        "service_curves": dict.fromkeys(names, curve),
        "misses": [
            item | {"item_id": "i9", "from": "1 Mar 2024", "sold": 300.0, "expected": 41.5, "loss_share": 0.021}
        ],
        "effects": {
            "note": "Stock unknown.",
            "rows": [
                {"name": "promotion", "category": None} | effect,
                {"name": "promotion", "category": "home"} | effect | dict.fromkeys(("uplift", "low", "high")),
            ],
        },
        "totals": [item | {"title": "The whole shop"}],
        "alerts": {
            "kinds": [{"kind": "reorder_now", "count": 31, "rows": [row]}],
            "notes": ["Stock of 3 items is unknown."],
        },
    }


def policy_report(**changes) -> dict:
    names = ("ips", "snips", "clipped_ips", "direct_method", "doubly_robust")
    checks = {
        "num_exposures": 2000,
        "effective_sample_size": 700.0,
        "largest_weight": 13.8,
        "mean_weight": around(1.0),
        "unsupported": 0.0,
        "balanced": True,
        "verdict": "The propensities agree with the log.",
    }
    row = {
        "policy": "two-tower",
        "about": "draws from its softmax",
        "value": {name: around(0.05) for name in names},
        "lead": {name: around(0.01) for name in names},
        "logged": around(0.04),
        "clipping": {"at": 44.7, "share": 0.0, "bias": -0.0001, "most_bias": -0.0002},
        "checks": checks,
    }
    return (
        COMMON
        | {
            "kind": "policy",
            "shop": "Corner & Sons",
            "ours": "two-tower",
            "slot": "home",
            "variant": "",
            "reward": "click",
            "success": "the customer opened it",
            "from_us": 1_700_000_000_000_000,
            "num_users": 800,
            "num_rewards": 76.0,
            "set_aside": {"erased": 0},
            "num_candidates": 273,
            "num_shown_items": 294,
            "resamples": 1000,
            "logged": around(0.04),
            "policies": [row, row | {"policy": "popularity"}],
        }
        | changes
    )


def cut(label: str, ours: float, others: float, *, group: str = "History length", num_users: int = 500) -> dict:
    found = {"two-tower": around(ours), "item-kNN": around(others), "popularity": around(0.01)}
    return {"group": group, "label": label, "num_users": num_users, "recall@20": found}


def table_of(name: str, slices: list[dict], *rows: dict) -> dict:
    models = rows or (row("two-tower", 0.06, None), row("item-kNN", 0.05, 0.01), row("popularity", 0.02, 0.04))
    return {"name": name, "num_users": 1000, "num_answers": 3000, "rows": list(models), "slices": slices}
