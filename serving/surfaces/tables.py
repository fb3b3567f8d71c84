"""What the surfaces read of a release; a release made before a surface existed lacks its file."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final

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
    def load(
        cls, part: Part, catalog: ItemCatalog, *, histories: Histories | None, customers: CustomerBook | None
    ) -> SurfaceTables:
        """Read what a retrieval part holds, and count what customers alike bought."""
        held = part.files
        segments = None
        if histories is not None and customers is not None:
            segments = Segments.of(histories, customers, available=catalog.available)
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
            segments=segments,
        )
        lacking = [surface for surface, file in NEEDS.items() if file not in held]
        _log.info(
            "surfaces: repeat %s, %d groups of customers alike%s",
            *(tables.repeat, len(segments.groups) if segments else 0),
            f"; no {', '.join(lacking)} until the retrieval part is trained again" if lacking else "",
        )
        return tables


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
