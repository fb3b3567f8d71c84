"""Doing the stages that are not done yet, and writing each into the journal once it is on disk."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features.errors import FootfallError
from features.files import sha256_of_file, sync_tree
from features.stages.area import BuildingArea
from features.stages.interface import STAGES, Build, Finished, Stages
from features.stages.journal import FinishedStage, Header, Journal
from features.stages.progress import Progress

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A build as it was found: gone on with, or begun anew.

    Args:
        journal: what is finished.
        resumed_from: the first stage that is still to be done, where an earlier process did some; empty where none did.
    """

    journal: Journal
    resumed_from: str = ""


def begin(area: BuildingArea, header: Header, base: Callable[[Path], None]) -> Begun:
    """Go on behind what an earlier process finished, where the header is the same; else begin anew. Says which.

    Args:
        area: held by this process; what does not count is removed from it.
        header: what must be the same.
        base: writes what stands beside the files of the stages; called anyway, since that is little.
    """
    begun = _found(area, header)
    area.keep_only(set(begun.journal.files()))
    base(area.made)
    begun.journal.save(area.journal)
    return begun


def run_stages(stages: Stages, build: Build, begun: Begun, area: BuildingArea) -> Journal:
    """Do what is not done yet.

    Args:
        stages: who does them.
        build: what they are told.
        begun: from ``begin``.
        area: ``build.out`` is its ``made``.

    Returns:
        The journal of all stages.
    """
    journal, done = begun.journal, len(begun.journal.stages)
    with Progress(of=len(STAGES)) as progress:
        for number, name in enumerate(STAGES, start=1):
            if number <= done:
                continue
            with progress.stage(name, number) as tell:
                started = time.perf_counter()
                finished: Finished = getattr(stages, name)(build)
                files = _written(area.made, name)
                seconds = round(time.perf_counter() - started, 3)
                said = _said(finished)
                journal = journal.followed_by(FinishedStage(stage=name, seconds=seconds, files=files, said=said))
                journal.save(area.journal)
                tell(finished.counts)
    return journal


@contextlib.contextmanager
def kept_if_useful(area: BuildingArea) -> Iterator[None]:
    """When the block fails, keep what is finished for a rerun, and say where it lies; remove it where that is of no use.

    Data or settings that are wrong have to change, and then nothing of it would count.
    """
    try:
        yield
    except FootfallError:
        area.remove()
        raise
    except BaseException:
        journal = Journal.load(area.journal)
        if journal is None or not journal.stages:
            area.remove()
            raise
        area.keep_only(set(journal.files()))
        logger.warning(
            "features: %d of %d stages are finished; they stay in %s (%.1f MB): run the same command again to go on "
            "behind them. Any other build of %s removes them",
            *(len(journal.stages), len(STAGES), area.directory, area.size() / 1e6, area.target),
        )
        raise


def _found(area: BuildingArea, header: Header) -> Begun:
    journal = Journal.load(area.journal)
    if journal is None or not journal.stages:
        return Begun(journal=Journal(header=header))
    if differing := journal.differs_in(header):
        logger.info(
            "features: an unfinished build of %d stages is begun anew: %s changed since",
            *(len(journal.stages), ", ".join(differing)),
        )
        return Begun(journal=Journal(header=header))
    sound = _sound(journal, area.made)
    names = list(STAGES)
    following = names[len(sound.stages)] if len(sound.stages) < len(names) else "the manifest"
    if sound.stages:
        seconds = sum(stage.seconds for stage in sound.stages)
        logger.info("features: goes on at %s; stages before it took %.1f s and are kept", following, seconds)
    return Begun(journal=sound, resumed_from=following if sound.stages else "")


def _sound(journal: Journal, made: Path) -> Journal:
    """Return the journal up to the first stage whose files are not what they were."""
    sound = Journal(header=journal.header)
    for stage in journal.stages:
        if name := stage.damaged(made):
            logger.warning("features: %s is not what was written; %s is done again", name, stage.stage)
            break
        sound = sound.followed_by(stage)
    return sound


def _written(made: Path, stage: str) -> Mapping[str, str]:
    """Return the digests of what a stage wrote, once it is on disk."""
    paths = [made / name for name in STAGES[stage] if (made / name).exists()]
    for path in paths:
        sync_tree(path)
    files = sorted(file for path in paths for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file())
    return {file.relative_to(made).as_posix(): sha256_of_file(file) for file in files}


def _said(finished: Finished) -> dict[str, Any]:
    refresh = {} if finished.refresh is None else {"refresh": finished.refresh.described()}
    return {"counts": dict(finished.counts)} | refresh
