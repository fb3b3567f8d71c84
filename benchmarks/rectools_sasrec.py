"""RecTools' SASRec within a budget of CPU-seconds, ranked lists after every epoch.

Run by ``retrieval_cost.py`` in an environment of its own (``requirements-rectools.txt``): it imports nothing of Footfall.

    python rectools_sasrec.py EVENTS TEST OUT --seconds 1800

EVENTS and TEST are Parquet files with ``user, item, position``: what is fitted, and the same with each user's validation
item at its end. Writes ``OUT/epoch-N.parquet`` (``user, item, rank``: the best 20 for the histories of EVENTS),
``OUT/test.parquet`` (the same for those of TEST, after the last epoch) and ``OUT/curve.json``.
"""

from __future__ import annotations

import argparse
import json
import logging
import resource
import time
import warnings
from pathlib import Path

import pandas as pd
import pytorch_lightning as pl
import torch
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel
from rectools.models.nn.item_net import IdEmbeddingsItemNet

TOP_K = 20
# What is stated here is pinned; all else is RecTools' own default (4 heads, batches of 128, Adam at .001, dropout .2).
CONFIG = {
    "n_factors": 64,
    "n_blocks": 1,
    "n_heads": 4,
    "session_max_len": 20,
    "dropout_rate": 0.2,
    "batch_size": 128,
    "lr": 0.001,
    "loss": "softmax",
}


def main() -> None:
    args = arguments()
    torch.set_num_threads(1)
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    pl.seed_everything(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    fit, test = dataset_of(args.events), dataset_of(args.test)
    model = SASRecModel(
        **CONFIG, item_net_block_types=(IdEmbeddingsItemNet,), deterministic=True, recommend_torch_device="cpu"
    )
    used, validation, curve = 0.0, 0.0, []
    while not curve or (len(curve) < args.epochs and used * (len(curve) + 1) / len(curve) <= args.seconds):
        used += cpu_of(lambda: model.fit_partial(fit, min_epochs=1, max_epochs=1))
        name = f"epoch-{len(curve) + 1}.parquet"
        validation += cpu_of(lambda name=name: rank(model, fit, args.out / name))
        curve.append({"lists": name, "cpu_s": used, "validation_cpu_s": validation})
        print(f"rectools: epoch {len(curve)}, {used:.0f} CPU-s", flush=True)
    rank(model, test, args.out / "test.parquet")
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    (args.out / "curve.json").write_text(
        json.dumps({"config": CONFIG | {"seed": args.seed}, "curve": curve, "peak_mb": peak_mb}), encoding="utf-8"
    )


def dataset_of(path: Path) -> Dataset:
    """Read events; a position within the history stands for the day, and every event weighs 1."""
    events = pd.read_parquet(path)
    return Dataset.construct(
        pd.DataFrame(
            {
                Columns.User: events["user"],
                Columns.Item: events["item"],
                Columns.Weight: 1.0,
                Columns.Datetime: pd.Timestamp("2020-01-01") + pd.to_timedelta(events["position"], unit="D"),
            }
        )
    )


def rank(model: SASRecModel, dataset: Dataset, path: Path) -> None:
    users = dataset.user_id_map.external_ids
    lists = model.recommend(users=users, dataset=dataset, k=TOP_K, filter_viewed=True)
    named = lists.rename(columns={Columns.User: "user", Columns.Item: "item", Columns.Rank: "rank"})
    named[["user", "item", "rank"]].to_parquet(path, index=False)


def cpu_of(run) -> float:
    started = time.process_time()
    run()
    return time.process_time() - started


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("events", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=float, default=1800, help="of CPU for training; one epoch at least")
    parser.add_argument("--epochs", type=int, default=1000, help="at most")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
