"""Rules and experiments in the supervisor and in a worker: followed like releases, where there are any."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from serving.engine import Engine
from serving.experiments.wish_source import TOPIC, WishFiles, WishSource
from serving.experiments.wishes import WishList
from serving.process.settings import ServeSettings
from serving.release.board import Board, Content
from serving.release.coordinator import Coordinator
from serving.release.followed import Followed


def wish_files(settings: ServeSettings, board: Board) -> WishFiles | None:
    """Return the files of rules and experiments, ``None`` where the settings name none."""
    rules, experiments = (Path(path) if path else None for path in (settings.rules.path, settings.experiments.path))
    if rules is None and experiments is None:
        return None
    return WishFiles(rules=rules, experiments=experiments, copies=board.directory / TOPIC)


def wish_coordinators(settings: ServeSettings, board: Board) -> list[Coordinator]:
    """Check the files to start with, and write down for the workers that they hold.

    Raises:
        ConfigError: a file is missing or not as it should be; the message says where.
    """
    files = wish_files(settings, board)
    if files is None:
        return []
    source = WishSource(files)
    wanted = source.wanted()
    source.verify(wanted)
    found = Coordinator(board, TOPIC, source, keep_previous=False, poll_seconds=settings.releases.poll_seconds)
    found.start(wanted)
    return [found]


def followed_wishes(
    settings: ServeSettings,
    board: Board,
    *,
    engines: Callable[[], Iterable[Engine]],
    want: Callable[[Iterable[str]], None],
) -> Followed[WishList] | None:
    """Return the wishes as a worker follows them, ``None`` where the settings name none.

    Args:
        settings: of the service.
        board: where the supervisor says which version holds.
        engines: that are loaded; rules are worked out over them before they take effect.
        want: asks for the releases that variants name.
    """
    files = wish_files(settings, board)
    if files is None:
        return None

    def load(content: Content, _: Sequence[WishList]) -> WishList:
        found = files.read(content.digest)
        found.prepare()
        for engine in engines():
            engine.merchandiser.prepare(found.rule_sets())
        return found

    def changed(held: list[WishList]) -> None:
        """Want what the serving version names until it no longer serves, and beside it what the next one does."""
        want({name for one in held for name in one.release_ids()})

    return Followed[WishList](board, TOPIC, load=load, changed=changed)
