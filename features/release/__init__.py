"""Where training and serving meet: immutable parts, and a small release manifest over them."""

from features.release.erasure import ErasureList
from features.release.part import Part, PartKind, write_part
from features.release.release import Release, ReleaseStore

__all__ = ["ErasureList", "Part", "PartKind", "Release", "ReleaseStore", "write_part"]
