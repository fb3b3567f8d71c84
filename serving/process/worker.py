"""One worker: the releases that it holds, what it shares with the other workers, and its end."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from features.release import ReleaseStore
from features.release.digests import KnownDigests
from features.release.layout import EXPOSURES_DIRECTORY
from serving.engine import Engine
from serving.engines import Engines
from serving.experiments.desk import WishDesk
from serving.experiments.exposures import ExposureWriter
from serving.experiments.metrics import lost_lists
from serving.experiments.wishes import Wishes
from serving.live.opening import open_live
from serving.merchandising.house import Merchandising
from serving.merchandising.stock import STOCK_FILE, LiveStock
from serving.outbox.held import HeldMessages
from serving.privacy.erasures import ErasureWatch
from serving.process.memory import give_back
from serving.process.settings import ServeSettings
from serving.process.wishes import followed_wishes
from serving.release.board import DIGESTS_FILE, STOCK_WORD, Board, Content
from serving.release.desk import ReleaseDesk
from serving.release.followed import Followed
from serving.release.follower import Follower
from serving.release.hold import hold_of
from serving.release.replay import compare
from serving.release.state import ReleaseState

if TYPE_CHECKING:
    from serving.outbox.outbox import Outbox

# How often Python lets another thread run: while a release is read aside, requests shall not wait for long.
_SWITCH_SECONDS = 0.0005
_USUAL_SECONDS = sys.getswitchinterval()


class Worker:
    """What one process answers from.

    Args:
        settings: of the service.
        board: where the supervisor says what serves.

    Attributes:
        engines: what answers.
        desk: where operators ask for another release.
        wish_desk: tells of rules and experiments.
        outbox: of webhooks, where there are endpoints.
        at_end: callbacks for what must be written before the process ends; called once requests are drained.
    """

    def __init__(self, settings: ServeSettings, board: Board) -> None:
        self._settings = settings
        self._board = board
        self._store = ReleaseStore(root=Path(settings.store))
        self._live = open_live(settings.live, Path(settings.store))
        self.at_end = contextlib.ExitStack()
        self._erased = ErasureWatch(self._store.erasures)
        followed = Followed[Engine](board, "release", load=self._load, compare=self._compare)
        wishes = followed_wishes(settings, board, engines=self._engines, want=lambda names: self._follower.want(names))  # noqa: PLW0108 - it is made below
        self._wishes = Wishes() if wishes is None else Wishes(lambda: wishes.current)
        # Rules first: a release that is loaded works them out before it answers.
        self._follower = Follower(board, [*([] if wishes is None else [wishes]), followed], aside=_quietly)
        self.wish_desk = WishDesk(self._wishes, board=board)
        self._exposures = ExposureWriter(
            Path(settings.experiments.exposures or self._store.root / EXPOSURES_DIRECTORY),
            is_erased=self._erased.__contains__,
            flush_seconds=settings.experiments.flush_seconds,
            keep_days=settings.experiments.keep_days,
            lost=lost_lists().inc,
        )
        self.at_end.callback(self._exposures.close)
        stock = LiveStock(self._store.root / STOCK_FILE, word=board.words[STOCK_WORD : STOCK_WORD + 1])
        self._merchandising = Merchandising(rules=self._wishes.rules, stock=stock, pool=settings.rules.pool)
        hold = hold_of(Path(settings.store), board, pinned=bool(settings.release_id))
        self.outbox: Outbox | None = None
        self.desk = ReleaseDesk(board, self._store, hold)
        self.engines = Engines(
            followed, recent=settings.releases.replay, want=self._follower.want, desk=self.desk,
            wishes=None if wishes is None else self._wishes,
            wish_desk=self.wish_desk,
        )  # fmt: skip

    def start(self) -> None:
        """Load what serves and follow from then on.

        Raises:
            ReleaseError: it is missing, damaged or does not fit; the message names the file.
        """
        self._follower.start()
        self._exposures.start()
        give_back()
        if self._settings.webhooks.endpoints:
            self._start_outbox()

    def stop(self) -> None:
        """Follow no longer, and close what was opened, the last first."""
        self._follower.stop()
        self.at_end.close()
        if self.outbox is not None:  # last: what it leaves undone is done after the next start
            self.outbox.stop()

    def _start_outbox(self) -> None:
        from serving.outbox.outbox import Outbox  # noqa: PLC0415 - for shops that send webhooks

        self.outbox = Outbox(self._settings.webhooks, self._store.root, lambda: self.engines.current)
        self.outbox.start()

    def _compare(self, serving: Engine, candidate: Engine) -> dict[str, float]:
        settings = self._settings.releases
        return compare(serving, candidate, self.engines.recent(), settings=settings) if settings.replay else {}

    def _load(self, content: Content, held: Sequence[Engine]) -> Engine:
        digests = KnownDigests.load(self._board.directory / DIGESTS_FILE)
        store = ReleaseStore(root=self._store.root, digest_of=digests)
        state = ReleaseState.load(store, content.name, reuse=[one.state for one in held])
        data = Path(self._settings.data) if self._settings.data else None
        engine = Engine(
            state, self._live, self._erased, data=data, merchandising=self._merchandising, exposures=self._exposures,
            outbox=HeldMessages(self._settings.webhooks.file(self._store.root)),
        )  # fmt: skip
        engine.merchandiser.prepare(self._wishes.current().rule_sets())
        return engine

    def _engines(self) -> list[Engine]:
        """Return what is loaded; nothing while the first release is."""
        if not self._follower.has_started:
            return []
        return [one for name in self.engines.ids() if (one := self.engines.of(name)) is not None]


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Let requests come first while something is loaded."""
    sys.setswitchinterval(_SWITCH_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(_USUAL_SECONDS)  # not what it was: two topics may be loaded at once
        give_back()
