"""Where the supervisor and its workers meet: a directory of this one server, gone with it.

words               64 numbers in shared memory: which content answers now, one a topic
TOPIC.json          the plan: what each number means, and which one is to be loaded next; the supervisor writes it
worker-PID.json     what a worker holds, and what it refused; the worker writes it
worker-PID.lock     held for as long as that worker lives
gate                held while the word changes, and while a worker goes from loading to answering
bell                touched where somebody asked for something, so that no poll has to pass first
digests.json        SHA-256 of the files that the supervisor has checked

The word is what makes a swap whole: it is one store to memory that all workers read at the arrival of each request, so
that from one instant on every request, in whichever worker, is answered by the new content. No clock takes part in it.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

import msgspec

DIGESTS_FILE: Final = "digests.json"
_NUM_WORDS: Final = 64
_ASKED: Final = 63
# The place of each topic's word.
TOPICS: Final[dict[str, int]] = {"release": 0, "wishes": 1}
# The place of a number that counts what was told of stock; see serving.merchandising.stock.
STOCK_WORD: Final = 63


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """One version of what a topic serves.

    Args:
        number: what the topic's word says while this is served; counts up from 1 over the server's life.
        name: a release's id.
        digest: of its manifest.
    """

    number: int
    name: str
    digest: str


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """A content that was not served, and why.

    Args:
        reason: in words, of the supervisor or of the first worker that refused.
        at: ISO 8601, UTC.
        asked: number of the operator's request that wanted it, 0 where nobody asked.
    """

    name: str
    digest: str
    reason: str
    at: str
    asked: int = 0


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a topic serves, and what is to be served next.

    Args:
        serving: answers now.
        since: when it began to, ISO 8601, UTC.
        candidate: to be loaded.
        compare: whether the candidate has to answer as well as what serves; what an operator asked for does not.
        previous: held for going back.
        also: held beside, for experiments.
        everywhere: numbers that every worker holds.
        back_to: name of what served before, which a rollback goes to; empty where nothing did.
        refusals: newest last.
        swaps: how often the serving content changed since the start.
        refused: how often a content was refused since the start.
        asked: number of the operator's request that has been seen.
        overtaken: number of the last request that was never served, as something was promoted at the same time.
        followed: name of what is promoted.
        held: whether an operator's choice is served in its place.
        trouble: why what is followed cannot be read now, empty where it can.
    """

    serving: Content
    since: str
    candidate: Content | None = None
    compare: bool = True
    previous: Content | None = None
    also: tuple[Content, ...] = ()
    everywhere: tuple[int, ...] = ()
    back_to: str = ""
    refusals: tuple[Refusal, ...] = ()
    swaps: int = 0
    refused: int = 0
    asked: int = 0
    overtaken: int = 0
    followed: str = ""
    held: bool = False
    trouble: str = ""

    @property
    def contents(self) -> tuple[Content, ...]:
        """All that a worker should hold, what serves first."""
        return (self.serving, *(one for one in (self.candidate, self.previous) if one is not None), *self.also)


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker says of one content.

    Args:
        number: of the content.
        state: whether it can be served.
        reason: why not.
        passing: whether that may be otherwise soon.
        report: what the comparison found.
    """

    number: int
    state: Literal["ready", "refused"]
    reason: str = ""
    passing: bool = False
    report: dict[str, float] = {}


class WorkerNote(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker says of itself.

    Args:
        pid: process id.
        state: whether it answers requests.
        held: by topic.
        also: names that it would have held beside.
        reason: why it could not start.
    """

    pid: int
    state: Literal["starting", "serving", "failed"]
    held: dict[str, tuple[Held, ...]] = {}
    also: tuple[str, ...] = ()
    reason: str = ""

    def of(self, topic: str, number: int) -> Held | None:
        """Return what is said of one content, ``None`` where nothing is yet."""
        return next((one for one in self.held.get(topic, ()) if one.number == number), None)


class Board:
    """The directory.

    Args:
        directory: made where absent.
        pid: of the worker that this is.
    """

    def __init__(self, directory: Path, *, pid: int | None = None) -> None:
        self.directory = Path(directory)
        self.pid = os.getpid() if pid is None else pid
        self.directory.mkdir(parents=True, exist_ok=True)
        self.words = _mapped(self.directory / "words")
        self._lock: int | None = None

    def plan(self, topic: str) -> Plan:
        """Return a topic's plan.

        Raises:
            OSError, msgspec.MsgspecError: it is missing or damaged.
        """
        return msgspec.json.decode(self.plan_path(topic).read_bytes(), type=Plan)

    def plan_path(self, topic: str) -> Path:
        """Return where a topic's plan stands."""
        return self.directory / f"{topic}.json"

    def write_plan(self, topic: str, plan: Plan) -> None:
        """Replace a topic's plan, whole."""
        _replace(self.plan_path(topic), plan)

    @contextlib.contextmanager
    def gate(self) -> Iterator[None]:
        """Keep others from swapping, or from beginning to answer, meanwhile."""
        with (self.directory / "gate").open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # released when the file is closed
            yield

    def ring(self) -> None:
        """Have the supervisor look at once."""
        with (self.directory / "bell").open("ab") as bell:
            bell.write(b".")

    def rung(self) -> int:
        """Return a number that is another one after each ring."""
        try:
            return (self.directory / "bell").stat().st_size
        except FileNotFoundError:
            return 0

    def asked(self) -> int:
        """Return the greatest number of an operator's request; ask and note inside the gate."""
        return self.words[_ASKED]

    def note_asked(self, number: int) -> None:
        """Keep the greatest number of an operator's request."""
        self.words[_ASKED] = max(number, self.words[_ASKED])

    def join(self) -> None:
        """Count as a living worker until this process ends, however it ends."""
        path = self.directory / f"worker-{self.pid}.lock"
        while self._lock is None:
            file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(file, fcntl.LOCK_EX)
            if path.exists() and os.path.samestat(os.fstat(file), path.stat()):
                self._lock = file
            else:  # swept away between the two
                os.close(file)

    def leave(self) -> None:
        """Count as a worker no longer."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def say(self, note: WorkerNote) -> None:
        """Replace this worker's note."""
        _replace(self.directory / f"worker-{note.pid}.json", note)

    def workers(self) -> list[WorkerNote]:
        """Return what the living workers say."""
        alive = [path for path in sorted(self.directory.glob("worker-*.lock")) if self._is_alive(path)]
        return [one for path in alive if (one := _note(path.with_suffix(".json"))) is not None]

    def sweep(self) -> None:
        """Remove what the dead have left."""
        for lock in self.directory.glob("worker-*.lock"):
            with contextlib.suppress(OSError), lock.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # held meanwhile: whoever joins now looks again
                lock.with_suffix(".json").unlink(missing_ok=True)
                lock.unlink()

    def failures(self) -> list[str]:
        """Return why workers could not start, of those too that are gone."""
        notes = [_note(path) for path in sorted(self.directory.glob("worker-*.json"))]
        return [one.reason for one in notes if one is not None and one.state == "failed"]

    def _is_alive(self, lock: Path) -> bool:
        """Return whether a worker's lock is held; a zombie, or another process of the same number, holds none."""
        try:
            file = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(
                file, fcntl.LOCK_SH | fcntl.LOCK_NB
            )  # shared: two that look do not take each other for the worker
        except BlockingIOError:
            return True
        finally:
            os.close(file)
        return False


def _note(path: Path) -> WorkerNote | None:
    with contextlib.suppress(OSError, msgspec.MsgspecError):  # it has not written yet
        return msgspec.json.decode(path.read_bytes(), type=WorkerNote)
    return None


def _mapped(path: Path) -> memoryview:
    """Return the file's numbers as shared memory, uint64 ``[64]``."""
    size = 8 * _NUM_WORDS
    with contextlib.suppress(FileExistsError), path.open("xb") as file:
        file.truncate(size)
    with path.open("r+b") as file:
        return memoryview(mmap.mmap(file.fileno(), size)).cast("Q")


def _replace(path: Path, content: msgspec.Struct) -> None:
    """Write a file aside and rename it; it need not outlive a power cut, so nothing waits for the disk."""
    aside = path.with_suffix(f".{os.getpid()}")
    aside.write_bytes(msgspec.json.encode(content))
    aside.replace(path)
