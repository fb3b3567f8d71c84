"""What is asked for every user alike."""

from __future__ import annotations

from typing import Final, get_args

import msgspec

from features.errors import ConfigError, did_you_mean
from serving.api.schemas import Filters, RecommendRequest, Repeat, Surface

# The others are about an item that a page shows.
SURFACES: Final[tuple[Surface, ...]] = ("for_you", "buy_it_again", "trending", "new_arrivals")
_MOST: Final = 1000


class BulkSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A request that is the same for every user, and how its answers are found.

    Args:
        surface: one of ``SURFACES``.
        k: the most items of a list.
        exclude_seen: leave out what the history holds.
        repeat: items bought before; the shop's own setting where ``None``.
        filters: which items may be shown.
        diversity: how much items should differ; 0 to 1.
        exact: rank every item, where the release's index would be asked.
        shard_users: users of FILE that one part of the output holds.
    """

    surface: Surface = "for_you"
    k: int = 20
    exclude_seen: bool = False
    repeat: Repeat | None = None
    filters: Filters | None = None
    diversity: float | None = None
    exact: bool = False
    shard_users: int = 20_000

    def __post_init__(self) -> None:
        if self.surface not in SURFACES:
            about = " is about an item that a page shows" if self.surface in get_args(Surface) else ""
            hint = "" if about else did_you_mean(self.surface, SURFACES)
            raise ConfigError(f"surface: expected one of {', '.join(SURFACES)}; {self.surface!r}{about}.{hint}")
        if not 1 <= self.k <= _MOST:
            raise ConfigError(f"k: expected 1 to {_MOST}, found {self.k}.")
        if self.diversity is not None and not 0 <= self.diversity <= 1:
            raise ConfigError(f"diversity: expected 0 to 1, found {self.diversity}.")
        if self.shard_users < 1:
            raise ConfigError(f"shard_users: expected 1 or more, found {self.shard_users}.")

    def request(self, user_id: str) -> RecommendRequest:
        """Return what the service would be asked for one user."""
        return RecommendRequest(
            user_id=user_id,
            surface=self.surface,
            k=self.k,
            exclude_seen=self.exclude_seen,
            repeat=self.repeat,
            filters=self.filters,
            diversity=self.diversity,
        )
