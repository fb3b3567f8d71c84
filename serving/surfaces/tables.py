"""What the surfaces read of a release; a release made before a surface existed lacks its file."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from features.catalog import ItemCatalog
from features.release import Part, layout
from features.repeats.blend import ForYouBlend
from features.repeats.repurchase import RepurchaseModel
from features.surfaces import SurfaceItems
from serving.api.errors import RequestError
from serving.api.schemas import Repeat, Surface
from serving.customers.book import CustomerBook
from serving.history.stored import Histories
from serving.retrieval.favourites import Favourites
from serving.surfaces.pairs import BoughtTogether
from serving.surfaces.segments import Segments

_log = logging.getLogger(__name__)

# The file without which a surface cannot answer.
NEEDS: Final[dict[Surface, str]] = {
    "bought_together": layout.BOUGHT_TOGETHER,
    "buy_it_again": layout.REPURCHASE,
    "trending": layout.TRENDING,
}


@dataclass(frozen=True, kw_only=True, eq=False)
class SurfaceTables:
    """Tables of the surfaces; ``None`` where the release lacks one.

    Args:
        as_of_us: where the retrieval part's data end, UTC microseconds, 0 where unknown.
        repeat: what the shop wants of items bought before.
        items: which items each surface may show.
        pairs: of ``bought_together``.
        trending: of ``trending``.
        repurchase: of ``buy_it_again`` and ``for_you``.
        blend: of ``for_you``.
        segments: what customers alike bought.
    """

    as_of_us: int
    repeat: Repeat
    items: SurfaceItems
    pairs: BoughtTogether | None
    trending: Favourites | None
    repurchase: RepurchaseModel | None
    blend: ForYouBlend | None
    segments: Segments | None

    @classmethod
    def load(cls, part: Part, catalog: ItemCatalog) -> SurfaceTables:
        """Read what a retrieval part holds; ``counting`` adds what customers alike bought."""
        held = part.files
        tables = cls(
            as_of_us=int(part.about.get("as_of_us", 0)),
            repeat=part.about.get("repeat", "discount"),
            items=SurfaceItems.of(catalog),
            pairs=BoughtTogether.load(
                part.path(layout.BOUGHT_TOGETHER), category=catalog.category, available=catalog.available
            )
            if layout.BOUGHT_TOGETHER in held
            else None,
            trending=Favourites.load(part.path(layout.TRENDING), catalog) if layout.TRENDING in held else None,
            repurchase=RepurchaseModel.load(part.path(layout.REPURCHASE)) if layout.REPURCHASE in held else None,
            blend=ForYouBlend.load(part.path(layout.BLEND)) if {layout.BLEND, layout.REPURCHASE} <= set(held) else None,
            segments=None,
        )
        lacking = [surface for surface, file in NEEDS.items() if file not in held]
        _log.info(
            "surfaces: repeat %s%s",
            tables.repeat,
            f"; no {', '.join(lacking)} until the retrieval part is trained again" if lacking else "",
        )
        return tables

    def counting(
        self, histories: Histories | None, customers: CustomerBook | None, *, available: npt.NDArray[np.bool_]
    ) -> SurfaceTables:
        """Return these tables with what customers alike bought; without it where there are no customers.

        Args:
            histories: of customers who may speak for others.
            customers: their categories and stages.
            available: what may be shown, bool ``[V]``.
        """
        if histories is None or customers is None:
            return replace(self, segments=None)
        segments = Segments.of(histories, customers, available=available)
        _log.info("surfaces: %d groups of customers alike", len(segments.groups))
        return replace(self, segments=segments)


def check_held(tables: SurfaceTables, surface: Surface) -> None:
    """Check that a release holds what a surface answers from.

    Raises:
        RequestError: it does not; the message says what to do.
    """
    held = {"bought_together": tables.pairs, "buy_it_again": tables.repurchase, "trending": tables.trending}
    if surface in NEEDS and held[surface] is None:
        raise RequestError(
            409,
            "surface_missing",
            f"surface: this release has no {NEEDS[surface]}, from which {surface!r} answers; train the retrieval part "
            "again with `footfall train retrieval` and promote it.",
        )
