"""A file of item sequences as a problem with known answers: strict leave-one-out.

One user a line: user id, then item ids, oldest first; plain or gzip. The last item is the test target, the one before it the
validation target. Attributes, where ``NAME_item2attributes.json`` lies beside ``NAME.txt``, become the items' labels.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from features import columns as c
from features.catalog import ItemCatalog
from features.sequences import Sequences
from features.splits import Split
from features.vocabulary import FIRST, Vocabulary
from training.evaluation.metrics import RelevantItems


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A file, read and split.

    Args:
        lines: 0-based line of each test user.
        vocabulary: item ids by code.
        catalog: labels by code; blank where the file comes without attributes.
        split: strict leave-one-out.
        relevant: the test targets.
    """

    lines: npt.NDArray[np.integer]
    vocabulary: Vocabulary
    catalog: ItemCatalog
    split: Split
    relevant: RelevantItems

    @property
    def num_codes(self) -> int:
        """Height of an embedding table, PAD and UNKNOWN included."""
        return len(self.vocabulary)

    @property
    def every_item(self) -> npt.NDArray[np.bool_]:
        """Which codes are items, bool ``[V]``."""
        every: npt.NDArray[np.bool_] = np.arange(self.num_codes) >= FIRST
        return every


def read(path: Path) -> Problem:
    """Read and split a file."""
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text(encoding="utf-8")
    rows = [line.split()[1:] for line in text.splitlines() if line.strip()]
    vocabulary = Vocabulary.from_ids(sorted({item for row in rows for item in row}, key=lambda id_: (len(id_), id_)))
    item = vocabulary.encode([item for row in rows for item in row])
    split = Split.leave_one_out(Sequences.from_arrays(offsets=np.cumsum([0, *map(len, rows)]), item=item))
    return Problem(
        lines=split.test.users,  # a user's row is its line
        vocabulary=vocabulary,
        catalog=_catalog(path, vocabulary),
        split=split,
        relevant=RelevantItems.of(split.test.targets),
    )


def _catalog(path: Path, vocabulary: Vocabulary) -> ItemCatalog:
    """Return the labels of each item, if a file of them lies beside the sequences."""
    beside = path.with_name(f"{path.stem}_item2attributes.json")
    if not beside.exists():
        return ItemCatalog.blank(len(vocabulary))
    attributes = json.loads(beside.read_text(encoding="utf-8"))
    labels = ["|".join(f"attribute {number}" for number in attributes.get(id_, [])) for id_ in vocabulary.ids]
    return ItemCatalog.from_items(pd.DataFrame({c.ITEM_ID: vocabulary.ids, c.LABELS: labels}), vocabulary)
