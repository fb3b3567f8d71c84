"""Which column a network reads where: what it takes to ask it about another panel than it learnt from."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from features.errors import DataError
from features.panel.demand_panel import DemandPanel
from training.demand.config import DemandConfig
from training.demand.inputs.panel_inputs import PanelInputs
from training.demand.inputs.peers import wide_to_narrow

_Column = TypeVar("_Column")


@dataclass(frozen=True, kw_only=True)
class InputLayout:
    """What the columns of a network's inputs are called, so that another panel can be laid out alike.

    Args:
        frequency: ``D`` or ``W``.
        season: periods in a season, 0 where the panel was too short to show one.
        plan: names of the plan features, blank for the season's waves.
        num_item_plan: how many of these, at the end, differ between items.
        observed: names of the observed features.
        static: names of each attribute's codes, by attribute; code 0 is blank.
        peers: attributes from the widest to the narrowest, by their place.
        content_items: digest of the items whose content vectors lay down the components that are read; blank without.
        last_year: whether the network reads what was sold around the same time last year.
    """

    frequency: str
    season: int
    plan: tuple[str, ...]
    num_item_plan: int
    observed: tuple[str, ...]
    static: Mapping[str, tuple[str, ...]]
    peers: tuple[int, ...]
    content_items: str
    last_year: bool = False

    @classmethod
    def of(cls, panel: DemandPanel, inputs: PanelInputs) -> InputLayout:
        """Return the layout of ``inputs``, which were made from ``panel``."""
        static = {}
        for column, (name, texts) in enumerate(panel.static.items()):
            found = dict(zip(inputs.static[:, column].tolist(), texts.tolist(), strict=True))
            static[name] = ("", *(str(found[code]) for code in range(1, inputs.static_sizes[column])))
        return cls(
            frequency=panel.frequency,
            season=inputs.sums.season,
            plan=inputs.plan_names,
            num_item_plan=inputs.num_item_plan,
            observed=tuple(panel.observed),
            static=static,
            peers=tuple(wide_to_narrow(inputs.static.numpy())),
            content_items=_digest(panel.item_ids) if inputs.content.shape[1] else "",
            last_year=inputs.last_year is not None,
        )

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> InputLayout:
        """Read what ``dataclasses.asdict`` and JSON have made of one."""
        static = {name: tuple(names) for name, names in value["static"].items()}
        tuples = {name: tuple(value[name]) for name in ("plan", "observed", "peers")}
        return cls(**{**value, **tuples, "static": static})

    def inputs_from(self, panel: DemandPanel, config: DemandConfig) -> PanelInputs:
        """Lay out another panel as the network reads it; categories and brands that it never met are unknown to it.

        Raises:
            DataError: the panel lacks a column, or columns mean something else in it.
        """
        if panel.frequency != self.frequency:
            raise DataError(f"expected a panel of frequency {self.frequency}, found {panel.frequency}")
        narrowed = self.narrowed(panel)
        inputs = PanelInputs.from_panel(narrowed, config)
        if not self.last_year:  # it learnt from a panel that was shorter
            inputs = dataclasses.replace(inputs, last_year=None)
        found = InputLayout.of(narrowed, inputs)
        for name in ("season", "plan", "num_item_plan", "peers", "content_items", "last_year"):
            if getattr(found, name) != getattr(self, name):
                raise DataError(
                    f"expected the inputs that it learnt to read, with {name} {getattr(self, name)}, "
                    f"found {getattr(found, name)}"
                )
        return dataclasses.replace(
            inputs,
            static=self._own_codes(inputs.static, found),
            static_sizes=tuple(len(names) for names in self.static.values()),
        )

    def narrowed(self, panel: DemandPanel) -> DemandPanel:
        """Keep the columns that the network reads, in its order."""
        ahead = [name for name in self.plan if name]
        planned = tuple(name for name in panel.planned if name in ahead)
        return dataclasses.replace(
            panel,
            known_ahead=_picked(panel.known_ahead, ahead),
            observed=_picked(panel.observed, self.observed),
            static=_picked(panel.static, tuple(self.static)),
            planned=planned,
            announced_ahead=panel.announced_ahead if planned else None,
            announced={name: array for name, array in panel.announced.items() if name in ahead},
        )

    def _own_codes(self, static: torch.Tensor, found: InputLayout) -> torch.Tensor:
        columns = []
        for column, (name, names) in enumerate(self.static.items()):
            own = {text: code for code, text in enumerate(names)}
            table = torch.tensor([0, *(own.get(text, 0) for text in found.static[name][1:])])
            columns.append(table[static[:, column]])
        return torch.stack(columns, dim=1) if columns else static


def _digest(item_ids: npt.NDArray[np.object_]) -> str:
    return hashlib.sha256("\n".join(item_ids.astype(str).tolist()).encode()).hexdigest()[:16]


def _picked(columns: Mapping[str, _Column], names: Sequence[str]) -> dict[str, _Column]:
    missing = sorted(set(names) - columns.keys())
    if missing:
        raise DataError(f"expected the columns that it learnt to read, found none called {', '.join(missing)}")
    return {name: columns[name] for name in names}
