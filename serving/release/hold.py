"""What an operator asked to serve in place of what is followed: kept, so that no restart and no poll undoes it."""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec

from features.errors import ReleaseError
from features.files import write_bytes
from serving.release.board import Board


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """An operator's request.

    Args:
        release_id: to serve; empty to serve what is followed again.
        instead_of: what was followed then; once something else is, the hold is over.
        asked: number of the request, rising.
        at: ISO 8601, UTC.
    """

    release_id: str
    instead_of: str
    asked: int
    at: str


class HoldFile:
    """The file that keeps it.

    Args:
        path: JSON; absent where nobody asked.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)

    def read(self) -> Hold | None:
        """Return the operator's request, ``None`` where there is none.

        Raises:
            ReleaseError: the file is damaged.
        """
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=Hold)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            raise ReleaseError(
                f"{self.path}: expected which release is held ({error}); roll back again, or remove the file to follow "
                "what is promoted."
            ) from None

    def write(self, hold: Hold) -> None:
        """Keep a request; durable when this returns."""
        write_bytes(self.path, msgspec.json.format(msgspec.json.encode(hold)) + b"\n")

    def clear(self) -> None:
        """Forget the request."""
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()


def hold_of(store: Path, board: Board, *, pinned: bool) -> HoldFile:
    """Return where an operator's request is kept: with the store, unless this one server was started on a release."""
    return HoldFile((board.directory if pinned else Path(store)) / "hold.json")
