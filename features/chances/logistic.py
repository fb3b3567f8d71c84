"""A chance from a few variables: logistic regression on them, their squares and their products, in numpy.

K variables, M rows. The logit is ``bias + z b + z Q z`` with z the standardised variables.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]

# Outcomes of the rarer kind a coefficient needs: Peduzzi et al. 1996, "A simulation study of the number of events
# per variable in logistic regression analysis".
OUTCOMES_A_COEFFICIENT: Final = 10
_PRIOR_PRECISION: Final = 1.0  # a standard normal prior on each coefficient of a standardised variable
_LEAST_SCALE: Final = 0.1  # variables are logarithms and cosines: less than this is no difference to make much of
_ANY: Final = 1e9
_ARRAYS: Final = ("center", "scale", "low", "high", "linear", "square")
_FLAT: Final = 1e-9
_MOST_STEPS: Final = 25
_TOLERANCE: Final = 1e-6  # of the loss
_THINNING: Final = 10
_ROWS_A_CHUNK: Final = 20_000


@dataclass(frozen=True, kw_only=True, eq=False)
class QuadraticLogit:
    """A fitted chance.

    Args:
        names: of the variables, K.
        center, scale: float64 ``[K]``; a variable enters as ``(x - center) / scale``, kept within ...
        low, high: float64 ``[K]``; ... what was seen when it was fitted: a square runs away outside.
        bias: logit where every variable is at its centre.
        linear: float64 ``[K]``.
        square: float64 ``[K, K]``, upper triangle.
    """

    names: tuple[str, ...]
    center: Floats
    scale: Floats
    low: Floats
    high: Floats
    bias: float
    linear: Floats
    square: Floats

    @classmethod
    def plain(cls, names: Sequence[str], weights: Mapping[str, float], *, bias: float = 0.0) -> QuadraticLogit:
        """Return a logit with given weights of unscaled variables, for where nothing can be learned."""
        size = len(names)
        return cls(
            names=tuple(names),
            center=np.zeros(size),
            scale=np.ones(size),
            low=np.full(size, -_ANY),
            high=np.full(size, _ANY),
            bias=bias,
            linear=np.array([weights.get(name, 0.0) for name in names]),
            square=np.zeros((size, size)),
        )

    @classmethod
    def fit(
        cls, names: Sequence[str], x: Floats, y: npt.NDArray[np.bool_], *, crossed: Sequence[str] | None = None
    ) -> QuadraticLogit | None:
        """Return the most likely coefficients under a standard normal prior, or ``None`` with too few outcomes.

        Squares and products enter only where the outcomes suffice for them all.

        Args:
            names: of the variables.
            x: ``[M, K]``.
            y: what came, bool ``[M]``.
            crossed: variables whose squares and products may enter; all of them where left out.
        """
        size = len(names)
        rarer = int(min(y.sum(), len(y) - y.sum()))
        if rarer < OUTCOMES_A_COEFFICIENT * size:
            return None
        rows, columns = _pairs(names, names if crossed is None else crossed)
        if rarer < OUTCOMES_A_COEFFICIENT * (size + len(rows)):
            rows, columns = rows[:0], columns[:0]
        center, scale = x.mean(axis=0), np.maximum(x.std(axis=0), _LEAST_SCALE)
        z = (x - center) / scale
        precision = np.full(1 + size + len(rows), _PRIOR_PRECISION)
        precision[0] = _FLAT  # how common the outcome is has no prior
        found = _newton(_Problem(z=z, y=y, rows=rows, columns=columns, precision=precision))
        square = np.zeros((size, size))
        square[rows, columns] = found[1 + size :]
        return cls(
            names=tuple(names),
            center=center,
            scale=scale,
            low=z.min(axis=0),
            high=z.max(axis=0),
            bias=float(found[0]),
            linear=found[1 : 1 + size],
            square=square,
        )

    def logit(self, x: Floats) -> npt.NDArray[np.float64]:
        """Return the log odds of each row of ``x`` ``[M, K]``."""
        z = np.clip((x - self.center) / self.scale, self.low, self.high)  # [M, K]
        return self.bias + z @ self.linear + ((z @ self.square) * z).sum(axis=1)

    def most_below(self, x: Floats, name: str) -> npt.NDArray[np.float64]:
        """Return the most that the log odds of each row of ``x`` ``[M, K]`` could be with a smaller value of one variable.

        Args:
            x: rows.
            name: of the variable; the others stay as they are.
        """
        z = np.clip((x - self.center) / self.scale, self.low, self.high)  # [M, K]
        at = self.names.index(name)
        # d below z the logit is logit(z) - slope * d + bend * d * d, for d from 0 to as low as anything was seen.
        slope, bend = self.linear[at] + z @ (self.square[at] + self.square[:, at]), self.square[at, at]
        farthest = z[:, at] - self.low[at]
        turning = np.clip(slope / (2 * bend), 0, farthest) if bend < 0 else farthest
        return self.logit(x) + np.maximum.reduce([0 * slope, *((bend * d - slope) * d for d in (farthest, turning))])

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        arrays = {name: getattr(self, name).tolist() for name in _ARRAYS}
        return {"names": list(self.names), "bias": self.bias, **arrays}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> QuadraticLogit:
        """Read what ``to_dict`` wrote."""
        arrays = {name: np.array(values[name], np.float64) for name in _ARRAYS}
        return cls(names=tuple(values["names"]), bias=float(values["bias"]), **arrays)


def chance_of(logit: Floats) -> Floats:
    """Return ``1 / (1 + exp(-logit))``."""
    return 1 / (1 + np.exp(-np.clip(logit, -50, 50)))


def _pairs(names: Sequence[str], crossed: Sequence[str]) -> tuple[npt.NDArray[np.integer], npt.NDArray[np.integer]]:
    """Return the pairs of places whose products enter, a variable with itself included."""
    places = np.array([place for place, name in enumerate(names) if name in crossed], np.intp)
    rows, columns = np.triu_indices(len(places))
    return places[rows], places[columns]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Problem:
    """Minus the log of the posterior, of coefficients ``[C]`` of 1, the variables and their products."""

    z: Floats
    y: npt.NDArray[np.bool_]
    rows: npt.NDArray[np.integer]
    columns: npt.NDArray[np.integer]
    precision: Floats

    def chunks(self) -> Iterator[tuple[Floats, npt.NDArray[np.bool_]]]:
        for start in range(0, len(self.z), _ROWS_A_CHUNK):
            part = self.z[start : start + _ROWS_A_CHUNK]
            products = part[:, self.rows] * part[:, self.columns]
            yield np.hstack([np.ones((len(part), 1)), part, products]), self.y[start : start + _ROWS_A_CHUNK]

    def loss(self, found: Floats) -> float:
        total = 0.5 * float(self.precision @ found**2)
        for design, y in self.chunks():
            logit = design @ found
            total += float(np.logaddexp(0, logit).sum() - logit[y].sum())
        return total

    def step(self, found: Floats) -> Floats:
        """Return Newton's step."""
        gradient, curvature = self.precision * found, np.diag(self.precision)
        for design, y in self.chunks():
            chance = chance_of(design @ found)
            gradient += design.T @ (chance - y)
            weighted = design * np.sqrt(chance * (1 - chance))[:, None]
            curvature += weighted.T @ weighted
        return np.linalg.solve(curvature, gradient)


def _start(problem: _Problem) -> npt.NDArray[np.float64]:
    """Return where to begin: where a tenth of many rows leads, so that few steps see them all."""
    thin = problem.y[::_THINNING]
    if len(thin) >= _ROWS_A_CHUNK // 2 and 0 < thin.sum() < len(thin):
        return _newton(dataclasses.replace(problem, z=problem.z[::_THINNING], y=thin))
    found = np.zeros(len(problem.precision))
    found[0] = np.log(problem.y.mean() / (1 - problem.y.mean()))
    return found


def _newton(problem: _Problem) -> npt.NDArray[np.float64]:
    """Return the coefficients of the least loss; the loss is convex, so that a step that lowers it enough is safe."""
    found = _start(problem)
    loss = problem.loss(found)
    for _ in range(_MOST_STEPS):
        step, size = problem.step(found), 1.0
        while (shorter := problem.loss(found - size * step)) > loss and size > _TOLERANCE:
            size /= 2
        gain, loss = loss - shorter, shorter
        found = found - size * step
        if gain < _TOLERANCE * loss:
            break
    return found
