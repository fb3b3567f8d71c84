"""Train a tiny two-tower, killed with SIGKILL at random steps and resumed, beside one left alone.

    python tests/training/kill_retrieval.py DIRECTORY --kills 5 --seed 0

Prints one JSON object: the steps at which it was killed, the step each attempt went on from, and
whether the weights ended bit-equal. Attempts are forks of a process that has imported everything.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from features.catalog import ItemCatalog
from features.sequences import Sequences
from features.splits import Split
from features.vocabulary import FIRST, Vocabulary
from training.retrieval.batches import Batch, TrainingBatches
from training.retrieval.config import LossConfig, RetrievalConfig, ScheduleConfig, TowerConfig
from training.retrieval.learn import Lesson, learn
from training.retrieval.running import CHECKPOINT_FILE, DONE_FILE, WEIGHTS_FILE

NUM_ITEMS, NUM_USERS = 60, 150
CONFIG = RetrievalConfig(
    tower=TowerConfig(dim=16, max_length=6, dropout=0.3, num_title_buckets=50, id_dropout=0.2),
    loss=LossConfig(kind="sampled", num_negatives=32, horizon=2, repeat_weight=1.0),
    schedule=ScheduleConfig(batch_tokens=96, max_epochs=4, patience=99, checkpoint_steps=4, ema_decay=0.9),
    exclude_seen=False,
)


def lesson() -> Lesson:
    rng = np.random.default_rng(5)
    lengths = rng.integers(3, 14, NUM_USERS)
    item = rng.integers(FIRST, FIRST + NUM_ITEMS, lengths.sum())
    split = Split.leave_one_out(Sequences.from_arrays(offsets=np.cumsum([0, *lengths]), item=item))
    ids = [f"i{number}" for number in range(NUM_ITEMS)]
    items = pd.DataFrame({"item_id": ids, "title": [f"thing {number % 7}" for number in range(NUM_ITEMS)]})
    return Lesson(
        fit=split.fit,
        validation=split.validation,
        catalog=ItemCatalog.from_items(items, Vocabulary.from_ids(ids)),
        candidates=np.arange(FIRST, FIRST + NUM_ITEMS),
        num_price_bands=5,
    )


def attempt(directory: Path, kill_at: int | None) -> tuple[int, bool]:
    """Train in a fork; kill it once it asks for the batch of step ``kill_at``.

    Returns:
        the step it started from, and whether it came to its end.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _train(directory, writer)
    os.close(writer)
    first = -1
    with os.fdopen(reader) as steps:
        for line in steps:
            first = int(line) if first < 0 else first
            if kill_at is not None and int(line) >= kill_at:
                os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return first, os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0


def _train(directory: Path, writer: int) -> None:
    torch.set_num_threads(1)
    batch_of = TrainingBatches.batch

    def told(batches: TrainingBatches, step: int) -> Batch:
        os.write(writer, f"{step}\n".encode())
        return batch_of(batches, step)

    TrainingBatches.batch = told  # type: ignore[method-assign]
    status = 1
    try:
        learn(lesson(), CONFIG, directory)
        status = 0
    finally:
        os._exit(status)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    alone, killed = args.directory / "alone", args.directory / "killed"
    _, ended = attempt(alone, None)
    assert ended, "the undisturbed training failed"
    last_step = json.loads((alone / DONE_FILE).read_text())["last_step"]
    kills = sorted(random.Random(args.seed).sample(range(1, last_step), args.kills))
    starts = []
    for step in kills:
        start, ended = attempt(killed, step)
        starts.append(start)
        assert not ended, "a killed training ended"
    start, ended = attempt(killed, None)
    assert ended, "the resumed training failed"
    equal = (alone / WEIGHTS_FILE).read_bytes() == (killed / WEIGHTS_FILE).read_bytes()
    states = [torch.load(path / CHECKPOINT_FILE, weights_only=True)["state_dict"] for path in (alone, killed)]
    equal_last = all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    result = {"steps": last_step, "killed_at": kills, "went_on_from": [*starts[1:], start]}
    print(json.dumps(result | {"bit_equal": equal and equal_last}))


if __name__ == "__main__":
    main()
