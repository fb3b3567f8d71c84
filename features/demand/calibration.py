"""Calibration of count forecasts: which level to ask a forecast for, so that outcomes stay below it as often as wanted.

Shapes: I items, W windows, N forecasts of an item in a window (its periods, or its totals by length).

The measure is the randomised PIT: an outcome ``y`` lies somewhere in ``[P(X < y), P(X <= y)]``, and over the outcomes of
a calibrated forecast these places are spread evenly (Czado, Gneiting, Held 2009, "Predictive model assessment for
count data"). Nothing is drawn here: an outcome counts in each part of its interval by that part's share. Inclusive
coverage, the share of outcomes at or below a quantile, would not do: in whole units it overshoots even where a
forecast is perfect, and a map fitted to it would make honest forecasts too narrow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from features.errors import DataError
from features.files import read_json, write_json

Floats = npt.NDArray[np.float64]
Of = Literal["period", "total"]

FORMAT: Final = 2
_READABLE: Final = (1, 2)
_TAIL: Final = (0.001, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04)
_GRID: Final = np.array([*_TAIL, *np.arange(5, 96, 2.5) / 100, *(1 - np.array(_TAIL[::-1]))])
_MOST_ROUNDS: Final = 50
_SETTLED: Final = 1e-3  # a tenth of the percentage point that tails are read in
_NO_WIDTH: Final = 1e-12


@dataclass(frozen=True, kw_only=True, eq=False)
class PitBounds:
    """Where outcomes lay in their forecasts; NaN where nothing is known.

    Args:
        low: ``P(X < y)``, ``[I, W, N]``.
        high: ``P(X <= y)``, ``[I, W, N]``.
    """

    low: Floats
    high: Floats

    def __post_init__(self) -> None:
        if self.low.ndim != 3 or self.low.shape != self.high.shape:
            raise DataError(f"PitBounds: expected two arrays [I, W, N], found {self.low.shape} and {self.high.shape}.")

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """Where there is an outcome, ``[I, W, N]``."""
        return np.isfinite(self.low) & np.isfinite(self.high)

    def through(self, levels: LevelMap) -> PitBounds:
        """Return the bounds that calibrated forecasts have."""
        return PitBounds(low=levels.covered_at(self.low), high=levels.covered_at(self.high))

    def share_below(self, level: float) -> Floats:
        """Return how much of each outcome's interval lies below ``level``, ``[I, W, N]``; NaN where unknown.

        >>> PitBounds(low=np.array([[[0.0]]]), high=np.array([[[0.4]]])).share_below(0.1).tolist()
        [[[0.25]]]
        """
        width = self.high - self.low
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.clip((level - self.low) / width, 0.0, 1.0)
        return np.where(width > _NO_WIDTH, share, np.where(np.isnan(width), np.nan, (level >= self.high) * 1.0))

    def shares(self, lowest: float = 0.1, highest: float = 0.9) -> dict[str, float]:
        """Return the expected share of randomised PIT values in between and in each tail.

        ``{"pit80": .8, "pit_low": .1, "pit_high": .1}`` for a calibrated forecast; 0 everywhere without outcomes.
        """
        below, within = (_mean(self.share_below(level)) for level in (lowest, highest))
        if below is None or within is None:
            return {"pit80": 0.0, "pit_low": 0.0, "pit_high": 0.0}
        return {"pit80": within - below, "pit_low": below, "pit_high": 1 - within}


@dataclass(frozen=True, kw_only=True)
class LevelMap:
    """A rising map between the levels that a forecast is asked for and how often outcomes stay below its answer.

    Piecewise linear through (0, 0), the points, and (1, 1); no points is the identity.

    Args:
        asked: rising levels in (0, 1).
        covered: share of outcomes below each, rising in (0, 1), drawn to ``asked`` by what chance may have done.
        trust: weight of what was measured, 0 (all may be chance) to 1; the rest is the identity's.
        num_items: items it was measured on.
        num_windows: windows it was measured on.
    """

    asked: tuple[float, ...] = ()
    covered: tuple[float, ...] = ()
    trust: float = 0.0
    num_items: int = 0
    num_windows: int = 0

    def __post_init__(self) -> None:
        rising = all(np.all(np.diff([0.0, *points, 1.0]) > 0) for points in (self.asked, self.covered))
        if len(self.asked) != len(self.covered) or not rising:
            raise DataError(
                "LevelMap: expected as many asked as covered levels, both rising within (0, 1), found "
                f"{len(self.asked)} and {len(self.covered)} of them; fit the calibration again."
            )

    @classmethod
    def fit(cls, found: PitBounds, *, doubt: bool = True) -> LevelMap:
        """Learn the map from forecasts that were not fitted to these outcomes.

        ``covered`` is the distribution of PIT values under which the calibrated forecasts' own PIT is even: a count's
        interval is shared out by the map itself, round by round until that holds (self-consistency; Turnbull 1976,
        "The empirical distribution function with arbitrarily grouped, censored and truncated data"). One value that
        may lie anywhere is added to those seen (the ``n + 1`` of conformal prediction; Vovk, Gammerman, Shafer 2005).
        Then the map is drawn to the identity as far as its departure could be chance (``_trust``).

        Args:
            found: of held-out windows.
            doubt: draw to the identity. A map that is fitted anew at every origin corrects itself, and need not.
        """
        items, windows = found.known.any(axis=(1, 2)).sum(), found.known.any(axis=(0, 2)).sum()
        units = int(found.known.any(axis=2).sum())  # the periods of one window move together: they count once
        if units < 2:
            return cls()
        trust = _trust(np.stack([_by_window(found.share_below(level)) for level in _GRID])) if doubt else 1.0
        measured = (units * _self_consistent(found) + _GRID) / (units + 1)
        covered = trust * measured + (1 - trust) * _GRID
        return cls(
            asked=tuple(_GRID.tolist()),
            covered=tuple(covered.tolist()),
            trust=trust,
            num_items=int(items),
            num_windows=int(windows),
        )

    def levels(self, wanted: Sequence[float]) -> tuple[float, ...]:
        """Return the level to ask for, so that outcomes stay below the answer as often as wanted."""
        return tuple(np.interp(wanted, [0.0, *self.covered, 1.0], [0.0, *self.asked, 1.0]).tolist())

    def covered_at(self, asked: Floats) -> Floats:
        """Return how often outcomes stay below the answer to each level asked for: a CDF's value, calibrated."""
        return np.interp(asked, [0.0, *self.asked, 1.0], [0.0, *self.covered, 1.0])


@dataclass(frozen=True, kw_only=True)
class DemandCalibration:
    """How one demand model is read: its level, and the maps of single periods and of totals of the first periods.

    >>> DemandCalibration().levels((0.5, 0.9), of="total")
    (0.5, 0.9)

    Args:
        period: of single periods.
        total: of the total of the first 1 .. H periods.
        level: logarithm of the factor on every mean: how much more the shop sells now than the network expects. The
            forecast is scaled by it before it is read through the maps.
    """

    period: LevelMap = field(default_factory=LevelMap)
    total: LevelMap = field(default_factory=LevelMap)
    level: float = 0.0

    def __post_init__(self) -> None:
        if not np.isfinite(self.level):
            raise DataError(f"DemandCalibration: expected a level that is a number, found {self.level}; fit it again.")

    def levels(self, wanted: Sequence[float], *, of: Of) -> tuple[float, ...]:
        """Return the level to ask the raw distribution for, so that the answer is covered as often as wanted."""
        return self._map(of).levels(wanted)

    def covered_at(self, asked: Floats, *, of: Of) -> Floats:
        """Return the raw distribution's CDF values, calibrated; the inverse of ``levels``."""
        return self._map(of).covered_at(asked)

    def save(self, path: Path) -> None:
        """Write JSON."""
        write_json(path, {"format": FORMAT, **self.to_dict()})

    def to_dict(self) -> dict[str, Any]:
        """Return the maps and the level as JSON."""
        maps = {name: _as_lists(asdict(found)) for name, found in (("period", self.period), ("total", self.total))}
        return {**maps, "level": self.level}

    @classmethod
    def load(cls, path: Path) -> DemandCalibration:
        """Read what ``save`` wrote.

        Raises:
            DataError: the file is missing, or not what ``save`` writes.
        """
        value = read_json(path)
        try:
            if value["format"] not in _READABLE:
                raise ValueError(f"format {value['format']}")
            level = float(value.get("level", 0.0))  # format 1 had none
            return cls(period=_read(value["period"]), total=_read(value["total"]), level=level)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}: expected a demand calibration of format {FORMAT}, found {error!r}.") from None

    def _map(self, of: Of) -> LevelMap:
        return {"period": self.period, "total": self.total}[of]


def _self_consistent(found: PitBounds) -> Floats:
    """Return the distribution of PIT values at the grid's levels, ``[G]``, under which calibrated PIT is even."""
    covered, count = _GRID, int(found.known.sum())
    for _ in range(_MOST_ROUNDS):
        before, now = covered, found.through(LevelMap(asked=tuple(_GRID.tolist()), covered=tuple(covered.tolist())))
        shares = np.array([_mean(now.share_below(level)) for level in before])
        covered = (count * shares + _GRID) / (count + 1)  # rises strictly, as a map of levels must
        if np.abs(covered - before).max() < _SETTLED:
            break
    return covered


def _by_window(shares: Floats) -> Floats:
    """Return the mean over what an item's window holds, ``[I, W]``; NaN where nothing is known."""
    known = np.isfinite(shares)
    count = known.sum(axis=2)
    return np.where(count > 0, np.where(known, shares, 0).sum(axis=2) / np.maximum(count, 1), np.nan)


def _trust(shares: Floats) -> float:
    """Return how much of a map's departure from the identity is more than chance, 0 .. 1.

    The positive-part factor of James and Stein (1961): 1 less the variance of the departures by their squares, both
    added up over the levels. Windows differ by more than the draw of items where the times change, so
    the variance is the larger of that between items and that between windows.

    Args:
        shares: how much of each item's window lies below each level of the grid, ``[G, I, W]``.
    """
    departures = np.array([_mean(level) for level in shares]) - _GRID
    variance = max(_variance_of_mean(shares, axis=2), _variance_of_mean(shares, axis=1))
    squares = float(np.square(departures).sum())
    return max(0.0, 1.0 - variance / squares) if squares > 0 else 0.0


def _variance_of_mean(shares: Floats, *, axis: int) -> float:
    """Return the variances of the levels' means, added up, where what ``axis`` adds up moves together."""
    known = np.isfinite(shares)
    count = known.sum(axis=(1, 2))
    mean = np.where(known, shares, 0).sum(axis=(1, 2)) / count
    sums = np.where(known, shares - mean[:, None, None], 0).sum(axis=axis)  # [G, clusters]
    clusters = sums.shape[1]
    return float((np.square(sums).sum(axis=1) / count**2).sum() * clusters / max(clusters - 1, 1))


def _mean(values: Floats) -> float | None:
    known = np.isfinite(values)
    return float(values[known].mean()) if known.any() else None


def _as_lists(value: dict[str, Any]) -> dict[str, Any]:
    return {name: list(found) if isinstance(found, tuple) else found for name, found in value.items()}


def _read(value: dict[str, Any]) -> LevelMap:
    return LevelMap(
        asked=tuple(map(float, value["asked"])),
        covered=tuple(map(float, value["covered"])),
        trust=float(value["trust"]),
        num_items=int(value["num_items"]),
        num_windows=int(value["num_windows"]),
    )
