"""Consent at the moment of use: what the features hold, or a newer table of consents."""

from __future__ import annotations

from pathlib import Path

from features.build import IDENTITY_DIRECTORY
from features.errors import DataError
from features.privacy.consents import CONSENTS_FILE, ConsentBook
from features.settings import EngineSettings, ShopSettings


def consents_of_features(
    features: Path, *, shop: ShopSettings, newer: Path | None = None, engine: EngineSettings = EngineSettings()
) -> ConsentBook:
    """Return the consents by which what is made from a feature directory may be used now.

    Args:
        features: what ``footfall features`` wrote; its links between ids hold for newer consents too.
        shop: its settings.
        newer: data directory with a newer ``consents.parquet``; the features' own where left out.
        engine: where tables are computed.

    Raises:
        DataError: the features were built before they held any.
    """
    if newer is not None:
        identity = features / IDENTITY_DIRECTORY
        return ConsentBook.build(newer, shop=shop, engine=engine, identity=identity if identity.is_dir() else None)
    path = features / CONSENTS_FILE
    if not path.is_file():
        raise DataError(f"{path}: expected the consents of these features, found none; build them again.")
    return ConsentBook.load(path)
