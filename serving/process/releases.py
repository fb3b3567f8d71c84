"""The supervisor's part in releases: which one the workers start with, and the thread that changes it."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import serving
from features.errors import ReleaseError
from features.release import ReleaseStore
from serving.process.alias_child import AliasChild
from serving.process.homes import home
from serving.process.settings import BOARD_VARIABLE, ServeSettings
from serving.release.board import DIGESTS_FILE, Board
from serving.release.coordination import Coordination
from serving.release.coordinator import Coordinator
from serving.release.hold import hold_of
from serving.release.sources import ReleaseSource, Wanted, current_of

_log = logging.getLogger(__name__)
_REGISTRY_SECONDS: Final = 60.0
_SWEEP_SECONDS: Final = 10.0


class Releases:
    """What the workers of one server serve.

    Args:
        board: where they meet.
        coordinator: of the topic ``release``.
        others: of other topics.
        is_kept: whether what serves is written down for a later start.
    """

    def __init__(
        self, board: Board, coordinator: Coordinator, others: Sequence[Coordinator] = (), *, is_kept: bool = False
    ) -> None:
        self.board, self._coordinator = board, coordinator
        self._has_served, self._is_kept = False, is_kept
        self._failure, self._swept = "", 0.0
        self._coordination = Coordination([coordinator, *others], on_tick=self._watch_the_start)

    @property
    def serving(self) -> str:
        """Id of the release that answers."""
        return self._coordinator.plan.serving.name

    def coordinate(self) -> None:
        """Follow what is promoted from now on."""
        self._coordination.start()

    def stop(self) -> None:
        """Swap nothing any more."""
        self._coordination.stop()

    def check_started(self) -> None:
        """Check, at the end, that it did not end because no worker could start.

        Raises:
            ReleaseError: it did; the message is the worker's.
        """
        if self._failure:
            raise ReleaseError(self._failure)

    def _watch_the_start(self) -> None:
        """End the server where its first workers cannot load the release: restarting them would not help."""
        if self._failure:
            return
        if self._has_served:
            if time.monotonic() - self._swept > _SWEEP_SECONDS:
                self._swept = time.monotonic()
                self.board.sweep()
            return
        self._has_served = any(worker.state == "serving" for worker in self.board.workers())
        if self._has_served and self._is_kept:
            self._coordinator.keep()
        if not self._has_served and (reasons := self.board.failures()):
            self._failure = reasons[0]
            os.kill(os.getpid(), signal.SIGTERM)


@contextlib.contextmanager
def following(settings: ServeSettings, directory: Path) -> Iterator[Releases]:
    """Check the release to start with, and write down for the workers that it serves.

    Args:
        settings: of the service, with absolute paths.
        directory: of this server, gone with it.

    Raises:
        ReleaseError: there is no release, or a file of it is missing or damaged; the message names it.
        ConfigError: rules or experiments are not as they should be.
    """
    board = Board(directory / "board")
    with contextlib.ExitStack() as closing:
        releases = _started(settings, board, _pointer(settings, board, closing))
        closing.callback(releases.stop)
        yield releases


def board_of_this_server(settings: ServeSettings, at_end: contextlib.ExitStack) -> Board:
    """Return where a worker meets its supervisor and the other workers.

    Started by `bentoml serve`, as in a container, there is no supervisor of ours: each worker then follows by itself, and
    they turn within seconds of each other instead of at one instant.

    Raises:
        ReleaseError: there is no supervisor, and no release to start with.
    """
    if directory := os.environ.get(BOARD_VARIABLE):
        return Board(Path(directory))
    releases = at_end.enter_context(following(settings, at_end.enter_context(home("footfall-worker-"))))
    releases.coordinate()
    return releases.board


def _started(settings: ServeSettings, board: Board, pointer: Callable[[], str]) -> Releases:
    store, wishes = ReleaseStore(root=Path(settings.store)), settings.releases
    hold = hold_of(Path(store.root), board, pinned=bool(settings.release_id))
    source = ReleaseSource(
        store,
        pointer=pointer,
        hold=hold,
        digests=board.directory / DIGESTS_FILE,
        also=wishes.also,
        max_also=wishes.max_also,
    )
    wanted = _first(source, may_differ=not settings.release_id)
    coordinator = Coordinator(
        board,
        "release",
        source,
        keep_previous=wishes.keep_previous,
        load_timeout_seconds=wishes.load_timeout_seconds,
        align_seconds=wishes.align_seconds,
        poll_seconds=wishes.poll_seconds,
    )
    coordinator.start(wanted, back_to=source.served_before(wanted.name))
    return Releases(board, coordinator, _wishes(settings, board), is_kept=not settings.release_id)


def _first(source: ReleaseSource, *, may_differ: bool) -> Wanted:
    """Return the release to start with: the one that served last where what is followed is no good, until it is mended.

    Raises:
        ReleaseError: neither can be served; the message is of what is followed.
    """
    try:
        wanted = source.first_wanted()
        source.verify(wanted)
    except ReleaseError as error:
        last = source.last_good() if may_differ else None
        if last is None:
            raise
        _log.error("%s Release %s, which served last, is served until that is mended.", error, last.name)
        return last
    return wanted


def _wishes(settings: ServeSettings, board: Board) -> list[Coordinator]:
    """Return what follows rules and experiments, where there are any."""
    if not (settings.rules.path or settings.experiments.path):
        return []
    from serving.process.wishes import wish_coordinators  # noqa: PLC0415 - reads rules, and so all that rules may name

    return wish_coordinators(settings, board)


def _pointer(settings: ServeSettings, board: Board, closing: contextlib.ExitStack) -> Callable[[], str]:
    """Return what names the release to follow; it is asked once a poll."""
    store = ReleaseStore(root=Path(settings.store))
    if settings.release_id:
        return lambda: settings.release_id
    if settings.releases.follow == "none":
        first = current_of(store)
        return lambda: first
    if settings.releases.follow == "current":
        return lambda: current_of(store)
    path = board.directory / "alias.json"
    command = [sys.executable, "-m", "serving.commands.alias", settings.store, settings.releases.alias, str(path)]
    root = Path(serving.__file__).parent.parent  # where the packages are
    poll = settings.releases.poll_seconds
    child = AliasChild([*command, str(poll)], path, cwd=root, silent_seconds=_REGISTRY_SECONDS + poll)
    closing.callback(child.stop)
    child.wait(_REGISTRY_SECONDS)
    return child
