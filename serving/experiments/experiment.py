"""Experiments: who takes part, in which variants, and what each wants of an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

from serving.api.schemas import Repeat, Surface
from serving.experiments.explore import Explore
from serving.merchandising.rules import RuleSet

HOLDOUT: Final = "holdout"
_SHORTEST: Final = 1e-12
Span = tuple[float, float, int]  # from, before, whose


def share_of(salt: str, unit: str) -> float:
    """Return a number in [0, 1) that is always the same for a salt and a unit, and even over units (BLAKE2b, 53 bits).

    >>> share_of("home", "ann")
    0.8563264203527598
    """
    digest = blake2b(unit.encode(), key=salt.encode()[:64], digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / (1 << 53)


def lanes(shares: Sequence[float]) -> tuple[Span, ...]:
    """Divide [0, 1) among several so that one that grows takes from nobody but the rest.

    Each has a lane of its own, as long as any other, and fills it: the first from the left, the second from the right,
    and so on in turn. With one or two, that holds whatever their shares; with more, as long as each stays within its
    lane, 1 / n. What does not fit is given of the free space, in order.

    >>> lanes([0.2, 0.1])
    ((0.0, 0.2, 0), (0.9, 1.0, 1))

    Args:
        shares: each 0 or more, summing to 1 at most.
    """
    num = max(2, len(shares))
    spans: list[Span] = []
    for row, share in enumerate(shares):
        length, left, right = min(share, 1 / num), row / num, (row + 1) / num
        spans.append((left, left + length, row) if row % 2 == 0 else (right - length, right, row))
    for row, share in enumerate(shares):
        over = share - 1 / num
        while over > _SHORTEST and (gap := _gap(spans, last=row % 2 == 1)) is not None:
            low, high = gap
            length = min(over, high - low)
            spans.append((low, low + length, row) if row % 2 == 0 else (high - length, high, row))
            over -= length
    return tuple(sorted(span for span in spans if span[1] - span[0] > 0))


def _gap(spans: Sequence[Span], *, last: bool) -> tuple[float, float] | None:
    """Return the first, or last, stretch of [0, 1) that nobody has."""
    taken = sorted(span for span in spans if span[1] - span[0] > 0)
    edges = [0.0, *(edge for low, high, _ in taken for edge in (low, high)), 1.0]
    free = [(low, high) for low, high in zip(edges[::2], edges[1::2], strict=True) if high - low > _SHORTEST]
    return None if not free else free[-1] if last else free[0]


def whose(spans: Sequence[Span], share: float) -> int | None:
    """Return whose a number is, nobody's where it is of the rest."""
    return next((row for low, high, row in spans if low <= share < high), None)


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
        variants: the first is the control.
        surfaces: one of these; any where empty.
        since_us, until_us: from the first instant on and before the second.
    """

    name: str
    salt: str
    share: float
    variants: tuple[Variant, ...]
    surfaces: tuple[Surface, ...] = ()
    since_us: int = 0
    until_us: int = 1 << 62
    spans: tuple[Span, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "spans", lanes([one.weight for one in self.variants[1:]]))

    def runs(self, surface: str, now_us: int) -> bool:
        """Whether a request is part of it, whoever asks."""
        return self.since_us <= now_us < self.until_us and (not self.surfaces or surface in self.surfaces)

    def variant_of(self, unit: str) -> Variant:
        """Return the variant of one who takes part."""
        row = whose(self.spans, share_of(f"{self.name}/{self.salt}", unit))
        return self.variants[0 if row is None else row + 1]


@dataclass(frozen=True, kw_only=True)
class Layer:
    """Experiments of which nobody takes part in two.

    Args:
        name: also the salt of who takes part in which.
        experiments: in the order of the file.
    """

    name: str
    experiments: tuple[Experiment, ...]
    spans: tuple[Span, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "spans", lanes([one.share for one in self.experiments]))

    def experiment_of(self, unit: str) -> Experiment | None:
        """Return the experiment that a unit takes part in."""
        row = whose(self.spans, share_of(self.name, unit))
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

    def variants_of(self, unit: str, surface: str, now_us: int) -> Mapping[str, Variant | None]:
        """Return the variants of a unit by experiment; ``holdout`` alone, with no variant, for those who are held out."""
        running = [layer for layer in self.layers if any(one.runs(surface, now_us) for one in layer.experiments)]
        if running and self.holdout and share_of(self.holdout_salt, unit) < self.holdout:
            return {HOLDOUT: None}
        found = [one for layer in running if (one := layer.experiment_of(unit)) is not None]
        return {one.name: one.variant_of(unit) for one in found if one.runs(surface, now_us)}
