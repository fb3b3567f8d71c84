"""A process that has imported all that workers need, and forks them: started sooner, and sharing its memory.

It is forked from the supervisor before that has threads, files or locks of its own. It forks each worker twice, so that
the worker becomes a child of the supervisor, which adopts orphans (Linux), signals it and hears of its end as of one it
started by a command.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, NoReturn

import msgspec

WORKER_NAME: Final = "footfall-worker"  # as `ps` and `top` show it; the kernel keeps 15 bytes
_NAME: Final = "footfall-forks"
_log = logging.getLogger(__name__)
_PATIENCE_SECONDS: Final = 60.0
_ORDER_BYTES: Final = 1 << 20
_PR_SET_NAME: Final = 15
_PR_SET_CHILD_SUBREAPER: Final = 36


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A worker to be forked.

    Args:
        arguments: of its command.
        environment: variables that differ from those of the process it is forked from.
        directory: where it runs.
    """

    arguments: tuple[str, ...]
    environment: dict[str, str]
    directory: str


class ForkParent:
    """Forks workers.

    Args:
        prepare: imports what they need; called once, aside.
        run: is a worker's life, given its arguments and the files that were handed to it.

    Raises:
        OSError: this system has no way to adopt orphans.
    """

    def __init__(self, *, prepare: Callable[[], None], run: Callable[[Sequence[str], Sequence[int]], None]) -> None:
        _control(_PR_SET_CHILD_SUBREAPER, 1)
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel.settimeout(_PATIENCE_SECONDS)
        self._environment = dict(os.environ)
        self.pid = os.fork()
        if self.pid == 0:
            self._channel.close()
            _live(lambda: _serve(theirs, prepare, run))
        theirs.close()

    def wait(self) -> None:
        """Wait until all is imported.

        Raises:
            OSError: it ended instead; its log says why.
        """
        self._answer()

    def fork(
        self, arguments: Sequence[str], *, environment: Mapping[str, str], directory: str, files: Sequence[int]
    ) -> int:
        """Return the process id of a new worker, a child of this process.

        Raises:
            OSError: nobody forks any more.
        """
        differing = {name: value for name, value in environment.items() if self._environment.get(name) != value}
        order = Order(arguments=tuple(arguments), environment=differing, directory=directory)
        socket.send_fds(self._channel, [msgspec.json.encode(order)], files)
        return int(self._answer())

    def close(self) -> None:
        """Fork no more."""
        self._channel.close()
        with contextlib.suppress(ChildProcessError):
            if os.waitpid(self.pid, os.WNOHANG) == (0, 0):  # still ours, perhaps importing
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)

    def _answer(self) -> bytes:
        if not (answer := self._channel.recv(32)):
            raise ConnectionResetError("the process that forks workers has ended")
        return answer


def _serve(
    channel: socket.socket, prepare: Callable[[], None], run: Callable[[Sequence[str], Sequence[int]], None]
) -> None:
    """Fork a worker an order, until the supervisor is gone."""
    _control(_PR_SET_NAME, _NAME.encode())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal interrupts the supervisor, which ends us
    gc.disable()  # nearly all that is imported stays
    prepare()
    gc.freeze()  # a collection would write to pages that are shared
    channel.send(b"ready")
    while True:
        content, files, _, _ = socket.recv_fds(channel, _ORDER_BYTES, 8)
        if not content:
            return
        order = msgspec.json.decode(content, type=Order)
        channel.send(b"%d" % _forked(partial(_work, channel, order, files, run)))
        for file in files:
            os.close(file)


def _forked(life: Callable[[], None]) -> int:
    """Return the id of a process that is nobody's child here: its parent, forked in between, has ended."""
    reading, writing = os.pipe()
    between = os.fork()
    if between == 0:
        between, worker = os.getpid(), os.fork()
        if worker == 0:
            os.close(reading)
            os.close(writing)
            while os.getppid() == between:
                time.sleep(0.0005)
            _live(life)
        os.write(writing, b"%d" % worker)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        worker = int(pipe.read())
    os.waitpid(between, 0)
    return worker


def _work(
    channel: socket.socket, order: Order, files: Sequence[int], run: Callable[[Sequence[str], Sequence[int]], None]
) -> None:
    """Be the worker of an order, as if started by a command."""
    channel.close()
    _control(_PR_SET_NAME, WORKER_NAME.encode())
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.environ.update(order.environment)
    os.chdir(order.directory)
    run(order.arguments, files)


def _live(life: Callable[[], None]) -> NoReturn:
    """Be another process than the caller's from now on, whose clean-up at the end is not ours to do."""
    code = 1
    try:
        life()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        _log.exception("process %d ended", os.getpid())
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(code)


def _control(option: int, value: int | bytes) -> None:
    """Call the kernel's ``prctl``.

    Raises:
        OSError: this system does not know of it.
    """
    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "prctl"):
        raise OSError("this system has no prctl")
    if library.prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
