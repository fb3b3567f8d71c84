"""From trained towers to the files of a retrieval part."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from features.catalog import ItemCatalog
from features.columns import EVENT_TYPE_CODES, PURCHASE
from features.release import layout
from features.sequences import Sequences
from features.vocabulary import FIRST, PAD, Vocabulary
from training.onnx_export import quiet_export
from training.retrieval.content_prior import ContentPrior
from training.retrieval.ensemble import TowerEnsemble, Towers, side_by_side
from training.retrieval.indexing import write_index
from training.retrieval.towers import Block, TwoTower

INPUTS: Final = ("item", "event_type", "gap", "price_band")
OUTPUT: Final = "user_vecs"
_DAY_US: Final = 86_400_000_000
_LARGEST_IN_ONE_FILE: Final = 1_500_000_000  # bytes

Ints = npt.NDArray[np.integer]


class ServingUserTower(nn.Module):
    """One user tower over right-aligned histories; the last block computes the last position alone.

    It holds a table of raw item vectors, so that item codes are all it needs.

    Args:
        towers: trained towers.
    """

    raw_items: Tensor

    def __init__(self, towers: TwoTower) -> None:
        super().__init__()
        self.users = towers.users
        self.max_length = towers.config.max_length
        self.register_buffer("raw_items", towers.all_raw_items())

    def forward(self, item: Tensor, event_type: Tensor, gap: Tensor, price_band: Tensor) -> Tensor:
        """Return unit vectors ``[B, D]`` for int64 inputs ``[B, L]``, 0 where there is no event."""
        held = item != PAD  # [B, L]
        position = (held.long().cumsum(1) - 1).clamp(0, self.max_length - 1)  # index within the real history
        fields = {"event_type": event_type, "gap": gap, "price_band": price_band, "position": position}
        x = F.embedding(item, self.raw_items)
        for name, table in self.users.tables.items():
            x = x + F.embedding(fields[name], table)
        x = self.users.input_norm(x)  # [B, L, D]
        allowed = _allowed(held)
        for block in self.users.blocks[:-1]:
            x = _block(block, x, x, allowed)
        last = _block(self.users.blocks[-1], x[:, -1:], x, allowed[:, -1:])
        return F.normalize(self.users.output_norm(last[:, 0]), dim=-1)


class ServingEnsemble(nn.Module):
    """The user towers of an ensemble, their vectors side by side as ``TowerEnsemble`` lays them.

    Args:
        ensemble: trained members.
    """

    def __init__(self, ensemble: TowerEnsemble) -> None:
        super().__init__()
        self.members = nn.ModuleList(ServingUserTower(member) for member in ensemble)

    def forward(self, item: Tensor, event_type: Tensor, gap: Tensor, price_band: Tensor) -> Tensor:
        """Return unit vectors ``[B, members x D]``; inputs as of ``ServingUserTower``."""
        return side_by_side([member(item, event_type, gap, price_band) for member in self.members])


def _allowed(held: Tensor) -> Tensor:
    """Return which event may look at which, bool ``[B, L, L]``: itself, and the real ones before it."""
    index = torch.arange(held.shape[1])
    causal = index[None, :] <= index[:, None]
    itself = index[None, :] == index[:, None]
    return (causal[None] & held[:, None, :]) | itself[None]


def _block(block: nn.Module, queries: Tensor, x: Tensor, allowed: Tensor) -> Tensor:
    """Return one block's output at the queries ``[B, Q, D]``, attending over ``x`` ``[B, L, D]``."""
    assert isinstance(block, Block)
    dim, width = x.shape[-1], x.shape[-1] // block.num_heads
    weight, bias = block.query_key_value.weight, block.query_key_value.bias
    q = F.linear(block.attention_norm(queries), weight[:dim], bias[:dim])
    k, v = F.linear(block.attention_norm(x), weight[dim:], bias[dim:]).chunk(2, dim=-1)
    q, k, v = (t.view(*t.shape[:2], block.num_heads, width).transpose(1, 2) for t in (q, k, v))  # [B, H, ., D / H]
    scores = q @ k.transpose(-1, -2) / width**0.5  # [B, H, Q, L]
    weights = scores.masked_fill(~allowed[:, None], -1e9).softmax(-1)
    attended = (weights @ v).transpose(1, 2).flatten(2)
    return block.after_attention(queries, attended)


def write_files(
    directory: Path,
    towers: Towers,
    *,
    vocabulary: Vocabulary,
    catalog: ItemCatalog,
    candidates: Ints,
    favourites: pd.DataFrame,
    flat_index_limit: int,
    prior: ContentPrior | None = None,
    queries: npt.NDArray[np.float32] | None = None,
    least_index_recall: float = 0.98,
) -> dict[str, Any]:
    """Write every file of ``features.release.layout`` for a retrieval part; return what its manifest says of them.

    Args:
        directory: of the part's draft.
        towers: trained towers.
        vocabulary: item ids by code.
        catalog: attributes by code.
        candidates: item codes that can be recommended; only these enter the index.
        favourites: as ``favourites`` returns them.
        flat_index_limit: the most candidates that are indexed exactly.
        prior: moves item vectors towards their content.
        queries: user vectors by which the index is tuned and its recall measured.
        least_index_recall: an index that finds less is marked in the manifest.
    """
    towers.eval()
    item_vecs = item_vectors(towers, prior)
    np.save(directory / layout.ITEM_VECTORS, item_vecs)
    del item_vecs  # from here on they are read from the file, a block at a time where they are many
    index = write_index(
        directory,
        np.load(directory / layout.ITEM_VECTORS, mmap_mode="r"),
        candidates,
        flat_limit=flat_index_limit,
        queries=queries,
        least_recall=least_index_recall,
    )
    export_user_tower(towers, directory / layout.USER_TOWER)
    vocabulary.save(directory / layout.VOCABULARY)
    catalog.save(directory / layout.CATALOG)
    favourites.to_parquet(directory / layout.FAVOURITES, index=False)
    return {"index": index}


def item_vectors(towers: Towers, prior: ContentPrior | None = None) -> npt.NDArray[np.float32]:
    """Return vectors of length 1 float32 ``[V, D]``, what a prior says of new items aside; rows PAD and UNKNOWN are 0."""
    towers.eval()
    vecs = towers.unit_items().numpy()  # made for us
    vecs[:FIRST] = 0
    return vecs if prior is None else prior.applied(vecs)


def export_user_tower(towers: Towers, path: Path) -> None:
    """Write the user tower as one ONNX file with dynamic batch and length."""
    tower = (ServingUserTower(towers) if isinstance(towers, TwoTower) else ServingEnsemble(towers)).eval()
    example = tuple(torch.ones(2, 3, dtype=torch.int64) for _ in INPUTS)
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length")}
    with quiet_export(), torch.no_grad():
        program = torch.onnx.export(
            tower,
            example,
            dynamo=True,
            input_names=list(INPUTS),
            output_names=[OUTPUT],
            dynamic_shapes=dict.fromkeys(INPUTS, axes),
            verbose=False,
        )
    assert program is not None
    # A file of the format ends at 2 GB: what is larger has its numbers in a file beside it, which is read with it.
    size = sum(value.numel() * value.element_size() for value in [*tower.parameters(), *tower.buffers()])
    program.save(str(path), external_data=size > _LARGEST_IN_ONE_FILE)


def favourites(
    sequences: Sequences, catalog: ItemCatalog, *, candidates: Ints, as_of_us: int, days: int
) -> pd.DataFrame:
    """Return the recent bestsellers, best first: ``item_code, score, category``.

    Purchases are counted where the log has any, else all events; the last ``days`` before
    ``as_of_us`` where instants are known, else all time. The score is the count.
    """
    recent = sequences.between(as_of_us - days * _DAY_US, as_of_us) if as_of_us else sequences
    bought = recent.where(recent.event_type == EVENT_TYPE_CODES[PURCHASE])
    counted = bought if bought.num_events else recent
    counts = np.bincount(counted.item, minlength=len(catalog))[candidates]
    order = np.lexsort((candidates, -counts))
    codes = candidates[order][: int((counts > 0).sum())]
    return pd.DataFrame(
        {
            "item_code": codes.astype(np.int32),
            "score": counts[order][: len(codes)].astype(np.float32),
            "category": catalog.category[codes],
        }
    )
