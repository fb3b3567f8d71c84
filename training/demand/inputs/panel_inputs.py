"""From a panel to model inputs: windows as pure functions of (item, origin).

Shapes: B windows, L context periods, H horizon periods, P calendar and plan features, O observed features,
S static attributes.

An origin ``t`` is the number of periods that have passed: the context is ``t - L .. t - 1``, the horizon
``t .. t + H - 1``. Units and observed features are read at ``t - 1`` and before, never later; only the plan
and the calendar reach into the horizon.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import torch
from torch import Tensor

from features.demand.plan_columns import symlog
from features.errors import DataError
from features.panel.demand_panel import DemandPanel
from training.demand.config import DemandConfig
from training.demand.inputs.content import item_vectors, principal_components
from training.demand.inputs.history import PrefixSums, SpanSums
from training.demand.inputs.last_year import YEAR, LastYear
from training.demand.inputs.panel_arrays import PlanArrays, season_of, stack, static_codes
from training.demand.inputs.peers import PeerMeans, Peers
from training.demand.inputs.plan_features import horizon_features
from training.demand.inputs.windows import InputSizes, Windows

SEASON_CYCLES: Final = (2, 4, 8)  # the same phase's mean over so many cycles is an input
SMALLEST_LEVEL: Final = 1e-2  # units a period; keeps logarithms finite for what never sold


@dataclass(frozen=True, kw_only=True, eq=False)
class PanelInputs:
    """A panel laid out for gathering windows.

    Args:
        config: how long contexts and horizons are.
        frequency: ``D`` or ``W``.
        units: float32 ``[I, T]``, NaN where nothing is known.
        log_units: log1p units, float32 ``[I, T]``, 0 where nothing is known.
        plan: calendar and plan, float32 ``[I, T + H, P]``; the last ``num_item_plan`` differ between items.
        num_item_plan: plan features that belong to items, and not to the calendar.
        plan_names: of the plan features, as the panel names them, ``[P]``; blank for the season's own waves.
        announced: features of the shop's plan, bool ``[P]``.
        announced_ahead: periods ahead that they were, int16 ``[I, T + H]``; ``None`` where always far enough.
        outside: the same of the features that are announced on their own, by feature.
        observed: float32 ``[I, T, O]``, 0 where nothing is known.
        static: int64 ``[I, S]``; code 0 is unknown.
        static_sizes: codes of each attribute.
        sums: prefix sums of each item.
        peers: what other items sell.
        last_year: what was sold around the same time last year; ``None`` for a panel of less than two years.
        content: what the items are, from their content vectors, float32 ``[I, V]``; of width 0 without.
        launches: first period that something is known of, int64 ``[I]``; T where nothing ever is.
    """

    config: DemandConfig
    frequency: Literal["D", "W"]
    units: Tensor
    log_units: Tensor
    plan: Tensor
    num_item_plan: int
    plan_names: tuple[str, ...]
    announced: Tensor
    announced_ahead: Tensor | None
    outside: dict[int, Tensor]
    observed: Tensor
    static: Tensor
    static_sizes: tuple[int, ...]
    sums: PrefixSums
    peers: Peers
    last_year: LastYear | None
    content: Tensor
    launches: Tensor

    @classmethod
    def from_panel(cls, panel: DemandPanel, config: DemandConfig) -> PanelInputs:
        """Lay out a panel; it is left as it is.

        Raises:
            DataError: the plan ends before the horizon does.
        """
        if panel.known_ahead and panel.horizon < config.horizon:
            raise DataError(
                f"Demand: expected a plan for {config.horizon} further periods, found {panel.horizon}; "
                "build the panel with a longer horizon or forecast a shorter one."
            )
        season = season_of(panel)
        units, ahead = np.asarray(panel.units, np.float32), panel.announced_ahead
        plan = PlanArrays.of(panel, config.horizon, season)
        item_plan = plan.values[:, : units.shape[1], plan.values.shape[2] - plan.num_item_plan :]
        observed = stack([np.nan_to_num(symlog(array)) for array in panel.observed.values()], units.shape)
        static, sizes = static_codes(panel.static, panel.num_items)
        sums = PrefixSums.build(units, plan=item_plan, observed=observed, season=season)
        vectors = item_vectors(Path(config.item_vectors), panel.item_ids) if config.item_vectors else None
        content = np.zeros((len(units), 0), np.float32) if vectors is None else principal_components(vectors)
        known, peers = np.isfinite(units), Peers.build(sums, static, vectors)
        return cls(
            config=config,
            frequency=panel.frequency,
            units=torch.from_numpy(units.copy()),
            log_units=torch.from_numpy(np.log1p(np.nan_to_num(units))),
            plan=torch.from_numpy(plan.values),
            num_item_plan=plan.num_item_plan,
            plan_names=plan.names,
            announced=torch.from_numpy(plan.announced),
            announced_ahead=None if ahead is None else torch.from_numpy(np.array(ahead[:, : plan.values.shape[1]])),
            outside={column: torch.from_numpy(array) for column, array in plan.outside.items()},
            observed=torch.from_numpy(observed),
            static=torch.from_numpy(static),
            static_sizes=sizes,
            sums=sums,
            peers=peers,
            last_year=LastYear.of(
                sums, peers, frequency=panel.frequency, horizon=config.horizon, span=config.level_span
            ),
            content=torch.from_numpy(content),
            launches=torch.from_numpy(np.where(known.any(axis=1), known.argmax(axis=1), units.shape[1])),
        )

    @property
    def num_items(self) -> int:
        """I."""
        return self.units.shape[0]

    @property
    def num_periods(self) -> int:
        """T, and the origin from which the future is forecast."""
        return self.units.shape[1]

    @property
    def sizes(self) -> InputSizes:
        """Widths of the windows."""
        one = self.windows(torch.zeros(1, dtype=torch.int64), torch.ones(1, dtype=torch.int64))
        return InputSizes(
            state=one.state.shape[1],
            static=self.static_sizes,
            context=one.context.shape[2],
            plan=one.horizon_plan.shape[2],
            horizon=one.horizon.shape[2],
        )

    def windows(self, items: Tensor, origins: Tensor, hidden: Tensor | None = None) -> Windows:
        """Gather the inputs of each (item, origin).

        Args:
            items: int64 ``[B]``.
            origins: int64 ``[B]``, in ``1 .. T``.
            hidden: windows that are to be as if nothing had ever been known of the item, bool ``[B]``.
        """
        hidden = torch.zeros_like(items, dtype=torch.bool) if hidden is None else hidden
        own = self._past(items, origins)
        past = own.without(hidden)
        peers = self._peer_means(items, origins, own)
        level = self._level(past, peers)  # [B]
        periods = origins[:, None] + torch.arange(-self.config.context_length, 0)  # [B, L]
        cell = (items[:, None], periods.clamp(min=0))
        mask = (periods >= 0) & torch.isfinite(self.units[cell]) & ~hidden[:, None]
        log_units = self.log_units[cell]
        context = torch.cat(
            [
                (log_units - torch.log1p(level)[:, None])[..., None],
                (log_units > 0).float()[..., None],
                self.observed[cell],
            ],
            dim=2,
        )
        horizon_plan = self._horizon_plan(items, origins)
        return Windows(
            level=level,
            state=self._state(items, origins, level=level, past=past, peers=peers, hidden=hidden),
            static=self.static[items],
            context=torch.where(mask[..., None], context, 0.0),
            context_plan=self.plan[cell],
            context_mask=mask,
            horizon_plan=horizon_plan,
            horizon=self._horizon(items, origins, level=level, past=past, plan=horizon_plan, hidden=hidden),
        )

    def targets(self, items: Tensor, origins: Tensor, *, until: int) -> Tensor:
        """Return the units of each horizon, ``[B, H]``; NaN where unknown or at ``until`` and later."""
        ahead = origins[:, None] + torch.arange(self.config.horizon)
        units = self.units[items[:, None], ahead.clamp(max=self.num_periods - 1)]
        return torch.where(ahead < until, units, torch.nan)

    def targets_at(self, origin: int) -> Tensor:
        """Return the units of all items' horizon from ``origin``, ``[I, H]``; NaN where unknown."""
        items = torch.arange(self.num_items)
        return self.targets(items, torch.full_like(items, origin), until=self.num_periods)

    def _past(self, items: Tensor, origins: Tensor) -> SpanSums:
        spans = torch.tensor([*self.config.spans, self.config.level_span, self.num_periods])
        return self.sums.within(items[:, None], origins[:, None] - spans, origins[:, None])

    def _peer_means(self, items: Tensor, origins: Tensor, own: SpanSums) -> PeerMeans:
        """Return what the peers sold over the level's span and over the shortest one."""
        places = [len(self.config.spans), 0]
        spans = torch.tensor([self.config.level_span, self.config.spans[0]])
        return self.peers.means(items, origins, spans, own=own.basic[:, places], prior_items=self.config.peer_prior)

    def _level(self, past: SpanSums, peers: PeerMeans) -> Tensor:
        prior, recent = self.config.level_prior, len(self.config.spans)
        expected = past.sold[:, recent] + prior * peers.units[:, 0, -1]
        return (expected / (past.seen[:, recent] + max(prior, 1e-3))).float().clamp(min=SMALLEST_LEVEL)

    def _state(
        self, items: Tensor, origins: Tensor, *, level: Tensor, past: SpanSums, peers: PeerMeans, hidden: Tensor
    ) -> Tensor:
        """What the past says as a whole, ``[B, F]``; ratios are logarithms against the level."""
        spans, everything = len(self.config.spans), -1
        seen = past.seen.clamp(min=1)
        means = (past.sold + level[:, None]) / (past.seen + 1)
        # An item known for a year is not new any more: beyond that, age would only tell the date.
        age = past.seen[:, everything].clamp(max=YEAR[self.frequency])
        last_sale = self.sums.last_sale[items, origins].masked_fill(hidden, -1)
        # A regressor from outside may be negative; what it weighs must not be.
        lift = (past.plan_units.clamp(min=0) + level[:, None, None]) / (past.plan.clamp(min=0) + 1)
        parts = [
            torch.log1p(level)[:, None],
            torch.log(level)[:, None],
            torch.log(means[:, :spans] / level[:, None]),
            past.log_units[:, :spans] / seen[:, :spans] - torch.log1p(level)[:, None],
            past.nonzero[:, :spans] / seen[:, :spans],
            past.seen[:, :spans] / torch.tensor(self.config.spans),
            torch.log1p((origins - 1 - last_sale).float())[:, None] / 3,
            torch.log1p(age)[:, None] / 5,
            *_of_peers(peers, level),
            torch.log(lift[:, everything] / level[:, None]),
            torch.log(lift[:, spans] / level[:, None]),
            torch.log1p(past.plan[:, everything].clamp(min=0)) / 5,
            past.plan[:, spans] / seen[:, spans, None],
            past.observed[:, 0] / seen[:, 0, None],
            past.observed[:, spans] / seen[:, spans, None],
            self.content[items],
        ]
        return torch.cat([part.float() for part in parts], dim=1)

    def _horizon_plan(self, items: Tensor, origins: Tensor) -> Tensor:
        """Calendar and plan of the horizon as they stood at the origin, ``[B, H, P]``.

        Period ``origin`` needs an announcement 1 period ahead, ``origin + 6`` one 7 periods ahead.
        """
        steps = torch.arange(self.config.horizon)
        cell = (items[:, None], (origins[:, None] + steps).clamp(max=self.plan.shape[1] - 1))
        plan = self.plan[cell]
        if self.announced_ahead is not None:
            plan = torch.where((self.announced_ahead[cell] >= steps + 1)[..., None] | ~self.announced, plan, 0.0)
        for feature, ahead in self.outside.items():
            plan[..., feature] = torch.where(ahead[cell] >= steps + 1, plan[..., feature], 0.0)
        return plan

    def _horizon(
        self, items: Tensor, origins: Tensor, *, level: Tensor, past: SpanSums, plan: Tensor, hidden: Tensor
    ) -> Tensor:
        """What is known of each horizon period besides its plan, ``[B, H, G]``."""
        steps = torch.arange(self.config.horizon)
        return horizon_features(
            position=(steps / self.config.horizon).expand(len(items), -1),
            plan=plan,
            usual=self._usual_plan(past),
            others=[
                *self._same_phase(items, origins, steps, level=level, hidden=hidden),
                *self._last_year(items, origins, steps, hidden=hidden),
            ],
        )

    def usual_plan(self, items: Tensor, origins: Tensor) -> Tensor:
        """Return the mean of the items' own plan features before the origin, ``[B, A]``."""
        return self._usual_plan(self._past(items, origins))

    def _usual_plan(self, past: SpanSums) -> Tensor:
        return (past.plan / past.seen.clamp(min=1)[..., None])[:, len(self.config.spans)].float()

    def _same_phase(
        self, items: Tensor, origins: Tensor, steps: Tensor, *, level: Tensor, hidden: Tensor
    ) -> list[Tensor]:
        if not self.sums.season:
            return []
        found = [self.sums.same_phase(items, origins, steps, cycles) for cycles in SEASON_CYCLES]
        known = (~hidden)[:, None]
        ratios = [
            (mean * count * known + level[:, None]) / (count * known + 1) / level[:, None] for mean, count in found
        ]
        return [torch.log(torch.stack(ratios, dim=2)).float()]

    def _last_year(self, items: Tensor, origins: Tensor, steps: Tensor, *, hidden: Tensor) -> list[Tensor]:
        return [] if self.last_year is None else [self.last_year.features(items, origins, steps, hidden=hidden)]


def _of_peers(peers: PeerMeans, level: Tensor) -> list[Tensor]:
    """What the peers' means say, ``[B, .]`` each: the narrowest group's, its trend, the wider ones against it."""
    usual, lately = (peers.units[:, span] + SMALLEST_LEVEL for span in (0, 1))  # [B, K]
    nonzero, log_units = peers.values[:, 0, -1, :2].unbind(-1)
    return [
        torch.log1p(peers.units[:, 0, -1:]),
        torch.log(lately / usual)[:, -1:],
        torch.log(usual[:, :-1] / usual[:, -1:]),
        torch.log1p(peers.num_items[:, 0]) / 5,
        nonzero[:, None],
        (log_units - torch.log1p(level))[:, None],
    ]
