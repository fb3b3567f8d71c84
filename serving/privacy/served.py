"""All places where the service keeps rows of customers beside the parts, as its settings name them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import msgspec

from features.errors import DataError
from features.exposure_log import ExposureLog
from serving.live.opening import open_live
from serving.live.settings import LiveSettings
from serving.live.store import LiveStateError
from serving.outbox.held import HeldMessages
from serving.process.settings import ServeSettings


class ServedPlaces:
    """Live state in SQLite or Redis, the log of exposures, and the outbox; ``features.privacy.erase.Served``.

    Args:
        store: the release store.
        live: where live state is; a SQLite file that does not exist is not made.
        exposures: what was shown in experiments.
        outbox: webhooks.
    """

    def __init__(self, store: Path, *, live: LiveSettings, exposures: ExposureLog, outbox: HeldMessages) -> None:
        self._store, self._live, self._exposures, self._outbox = store, live, exposures, outbox

    @classmethod
    def of(cls, settings: ServeSettings, store: Path, *, live_file: Path | None = None) -> ServedPlaces:
        """Return the places that settings name.

        Args:
            settings: of the service.
            store: the release store.
            live_file: SQLite file of live state, in place of theirs.
        """
        live = settings.live if live_file is None else msgspec.structs.replace(settings.live, file=str(live_file))
        log = Path(settings.experiments.resolved(store).exposures)
        return cls(
            store,
            live=live,
            exposures=ExposureLog(directory=log),
            outbox=HeldMessages(settings.webhooks.file(store)),
        )

    def erase(self, ids: Collection[str]) -> dict[str, int]:
        """Remove all rows of some ids; return how many there were, by place.

        Raises:
            DataError: live state or the outbox cannot be reached; what was removed before stays removed.
        """
        shown = self._exposures.erase(ids)
        try:
            return {"exposure_rows": shown, "messages": self._outbox.erase(ids), "live_rows": self._erase_live(ids)}
        except LiveStateError as error:
            raise DataError(
                f"erased so far: parts and exposures; live state or webhooks could not be reached ({error.code}). "
                "Run the same command again once they can."
            ) from None

    def _erase_live(self, ids: Collection[str]) -> int:
        if not self._live.url and not self._live.path(self._store).is_file():
            return 0
        live = open_live(self._live, self._store)
        try:
            return sum(live.delete_user(id_) for id_ in ids)
        finally:
            live.close()
