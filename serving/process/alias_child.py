"""The child process that asks the registry: watched, and started again where it dies or hangs."""

from __future__ import annotations

import contextlib
import logging
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from features.errors import ReleaseError
from serving.release.sources import AliasFile

_log = logging.getLogger(__name__)


class AliasChild:
    """Says what the alias marks, as long as somebody asks the registry.

    Args:
        command: asks again and again, and writes or touches ``path`` each time.
        path: what it writes.
        cwd: where it runs.
        silent_seconds: started again where it has not touched the file for so long.
        restart_seconds: but not more often than this.
    """

    def __init__(
        self, command: Sequence[str], path: Path, *, cwd: Path, silent_seconds: float, restart_seconds: float = 5.0
    ) -> None:
        self._command, self._path, self._cwd = list(command), Path(path), cwd
        self._silent, self._restart = silent_seconds, restart_seconds
        self._file = AliasFile(path)
        self._start()

    def __call__(self) -> str:
        """Return the release that the alias marks.

        Raises:
            ReleaseError: the registry does not answer, knows no such alias, or nobody asks it.
        """
        code, age = self._child.poll(), time.time() - self._heard()
        if code is None and age <= self._silent:
            return self._file()
        said = f"ended with {code}" if code is not None else f"has not been heard of for {age:.0f} s"
        if time.time() - self._started > self._restart:
            _log.error("the process that asks the registry %s; it is started again", said)
            self.stop()
            self._start()
        raise ReleaseError(f"alias: the process that asks the registry {said}; it is started again.")

    def wait(self, seconds: float) -> None:
        """Wait for the first answer."""
        with contextlib.suppress(ReleaseError):
            self._file.wait(seconds)

    def stop(self) -> None:
        """Ask no longer."""
        self._child.kill()
        self._child.wait()

    def _start(self) -> None:
        self._started = time.time()
        self._child = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, cwd=self._cwd)

    def _heard(self) -> float:
        """Return when it was last heard of, its start where it has not been yet."""
        try:
            return max(self._started, self._path.stat().st_mtime)
        except FileNotFoundError:
            return self._started
