"""Experiments: who takes part, in which variants, and what each wants of an answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from typing import Final, Literal

from serving.api.schemas import Repeat, Surface
from serving.experiments.explore import Explore
from serving.merchandising.rules import RuleSet

HOLDOUT: Final = "holdout"
NUM_BUCKETS: Final = 1_000  # of a layer
_SHORTEST: Final = 1e-12
_DIGITS: Final = 12
Span = tuple[float, float, int]  # from, before, whose
Deal = Literal["holdout", "layer", "variant"]


def share_of(salt: str, unit: str, *, deal: Deal) -> float:
    """Return a number in [0, 1) that is always the same for a salt and a unit, and even over units (BLAKE2b, 53 bits).

    >>> share_of("home", "ann", deal="layer")
    0.04928821116719706

    Args:
        salt: of any length.
        unit: who is asked about.
        deal: what the number is for; the same salt tells other numbers for another.
    """
    digest = blake2b(f"{len(salt)}:{salt}\0{unit}".encode(), person=deal.encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / (1 << 53)


def lanes(shares: Sequence[float]) -> tuple[Span, ...]:
    """Divide [0, 1) among several so that one that grows, or comes last, takes from nobody but the rest.

    Each starts at a place of its own and goes one way: the first from the left end, the second from the right, the third
    and fourth from the middle, right and left, the next from a quarter and three quarters. They take what is free in
    turn, so that another one at the end of the row moves nobody; and of four, one that grows moves nobody up to a quarter,
    of two up to what the other leaves.

    >>> lanes([0.2, 0.1, 0.3])
    ((0.0, 0.2, 0), (0.5, 0.8, 2), (0.9, 1.0, 1))

    Args:
        shares: each 0 or more, summing to 1 at most.
    """
    spans: list[Span] = []
    for row, share in enumerate(shares):
        left = share
        for low, high in _free(spans, start=_start(row), to_right=row % 2 == 0):
            length = min(left, high - low)
            if length <= _SHORTEST:
                continue
            spans.append((low, low + length, row) if row % 2 == 0 else (high - length, high, row))
            left -= length
    return tuple(sorted(spans))


def _start(row: int) -> float:
    """Return where a row starts: the ends, then the middle of each of the largest gaps (van der Corput's sequence)."""
    pair, found, step = row // 2, 0.0, 0.5
    if pair == 0:
        return float(row)
    while pair:
        pair, bit = divmod(pair, 2)
        found, step = found + bit * step, step / 2
    return found


def _free(spans: Sequence[Span], *, start: float, to_right: bool) -> list[tuple[float, float]]:
    """Return the stretches that nobody has, in the order in which one that starts there and goes that way meets them."""
    edges = [0.0, *(edge for low, high, _ in sorted(spans) for edge in (low, high)), 1.0]
    free = list(zip(edges[::2], edges[1::2], strict=True))
    right = [(max(low, start), high) for low, high in free if high > start]
    left = [(low, min(high, start)) for low, high in free if low < start]
    return [*right, *left] if to_right else [*left[::-1], *right[::-1]]


def whose(spans: Sequence[Span], share: float) -> int | None:
    """Return whose a number is, nobody's where it is of the rest."""
    return next((row for low, high, row in spans if low <= share < high), None)


def _any_is_held(_: str) -> bool:
    return True


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One way of answering.

    Args:
        name: unique in its experiment.
        weight: share of those who take part; the first variant, the control, has what the others leave.
        release_id: who answers; the current release where empty.
        rules: in place of the shop's, which hold where ``None``.
        explore: how places are drawn, where they are.
        repeat, diversity: of requests that do not say.
    """

    name: str
    weight: float = 0.0
    release_id: str = ""
    rules: RuleSet | None = None
    explore: Explore | None = None
    repeat: Repeat | None = None
    diversity: float | None = None


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Variants and who gets them.

    Args:
        name: unique in the file.
        salt: another one deals the variants anew.
        share: of the layer's units that take part.
        start: where they begin in the layer, 0 to 1.
        variants: the first is the control.
        surfaces: one of these; any where empty.
        since_us, until_us: from the first instant on and before the second.
    """

    name: str
    salt: str
    share: float
    variants: tuple[Variant, ...]
    start: float = 0.0
    surfaces: tuple[Surface, ...] = ()
    since_us: int = 0
    until_us: int = 1 << 62
    spans: tuple[Span, ...] = field(init=False, repr=False)
    releases: tuple[str, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "spans", lanes([one.weight for one in self.variants[1:]]))
        object.__setattr__(self, "releases", tuple(one.release_id for one in self.variants if one.release_id))

    def runs(self, surface: str, now_us: int, *, is_held: Callable[[str], bool] = _any_is_held) -> bool:
        """Whether a request is part of it, whoever asks: of no variant while one of them cannot be answered."""
        runs = self.since_us <= now_us < self.until_us and (not self.surfaces or surface in self.surfaces)
        return runs and all(is_held(one) for one in self.releases)

    def variant_of(self, unit: str) -> Variant:
        """Return the variant of one who takes part."""
        row = whose(self.spans, share_of(f"{len(self.name)}:{self.name}/{self.salt}", unit, deal="variant"))
        return self.variants[0 if row is None else row + 1]


@dataclass(frozen=True, kw_only=True)
class Layer:
    """Experiments of which nobody takes part in two: each has its own stretch of the layer, whatever others there are.

    Args:
        name: also the salt of who takes part in which.
        experiments: in the order of the file.
    """

    name: str
    experiments: tuple[Experiment, ...]
    spans: tuple[Span, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(
            self,
            "spans",
            tuple(
                sorted(
                    (one.start, round(one.start + one.share, _DIGITS), row) for row, one in enumerate(self.experiments)
                )
            ),
        )

    def experiment_of(self, unit: str) -> Experiment | None:
        """Return the experiment that a unit takes part in."""
        row = whose(self.spans, share_of(self.name, unit, deal="layer"))
        return None if row is None else self.experiments[row]


@dataclass(frozen=True, kw_only=True)
class ExperimentSet:
    """The experiments of one file.

    Args:
        layers: independent of each other.
        holdout: share of units that take part in none.
        holdout_salt: another one deals the holdout anew.
        version: 12 hex digits over the file's content.
        source: the file.
    """

    layers: tuple[Layer, ...] = ()
    holdout: float = 0.0
    holdout_salt: str = HOLDOUT
    version: str = ""
    source: str = ""

    def variants_of(
        self, unit: str, surface: str, now_us: int, *, is_held: Callable[[str], bool] = _any_is_held
    ) -> Mapping[str, Variant | None]:
        """Return the variants of a unit by experiment; ``holdout`` alone, with no variant, for those who are held out."""
        runs = partial(Experiment.runs, surface=surface, now_us=now_us, is_held=is_held)
        running = [layer for layer in self.layers if any(runs(one) for one in layer.experiments)]
        if running and self.holdout and share_of(self.holdout_salt, unit, deal="holdout") < self.holdout:
            return {HOLDOUT: None}
        found = [one for layer in running if (one := layer.experiment_of(unit)) is not None]
        return {one.name: one.variant_of(unit) for one in found if runs(one)}
