"""What of a build is finished: stage after stage, with the digest of every file, so that a rerun goes on behind them.

A build is gone on with only where its header is the same: same data, settings, code, engine and plan. How much memory it
may take and how many threads is no part of it: a build that ran out of memory goes on with more.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from features.errors import DataError
from features.files import read_json, sha256_of_file, write_json

_FORMAT: Final = 1

Header = Mapping[str, str]  # what must be the same -> its digest or name


@dataclass(frozen=True, kw_only=True)
class FinishedStage:
    """One stage.

    Args:
        stage: its name.
        seconds: it took.
        files: it wrote, relative to the directory that is made, with the sha256 of each.
        said: ``Finished`` as JSON.
    """

    stage: str
    seconds: float
    files: Mapping[str, str]
    said: Mapping[str, Any] = field(default_factory=dict)

    def damaged(self, made: Path) -> str:
        """Return the first file that is not what it was; every byte is read. Empty where all are."""
        for name, digest in self.files.items():
            path = made / name
            if not path.is_file() or sha256_of_file(path) != digest:
                return name
        return ""


@dataclass(frozen=True, kw_only=True)
class Journal:
    """The header, and what is finished, in order.

    Args:
        header: see the module.
        stages: finished so far.
    """

    header: Header
    stages: Sequence[FinishedStage] = ()

    @classmethod
    def load(cls, path: Path) -> Journal | None:
        """Read what ``save`` wrote; nothing where there is none, or another version's."""
        try:
            found = read_json(path)
            if found["format"] != _FORMAT:
                return None
            stages = [FinishedStage(**stage) for stage in found["stages"]]
            return cls(header=dict(found["header"]), stages=stages)
        except (DataError, KeyError, TypeError):
            return None

    def save(self, path: Path) -> None:
        """Write it, whole or not at all."""
        stages = [dataclasses.asdict(stage) for stage in self.stages]
        write_json(path, {"format": _FORMAT, "header": dict(self.header), "stages": stages})

    def followed_by(self, stage: FinishedStage) -> Journal:
        """Return the journal with one more stage."""
        return dataclasses.replace(self, stages=[*self.stages, stage])

    def differs_in(self, header: Header) -> list[str]:
        """Return what of another header is not the same."""
        return [name for name in {**self.header, **header} if self.header.get(name) != header.get(name)]

    def files(self) -> dict[str, str]:
        """Return all files that are finished, with their digests."""
        return {name: digest for stage in self.stages for name, digest in stage.files.items()}
