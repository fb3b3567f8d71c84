"""Starts the service as a foreground process: a supervisor and its workers."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

import serving
from features.errors import ConfigError
from features.release import ReleaseStore
from serving.access.door import is_loopback
from serving.access.key_watch import note_keys
from serving.access.keys import KeyFile
from serving.live.opening import open_live, prepare_live
from serving.outbox.signing import checked
from serving.privacy.erasures import ErasureWatch
from serving.process.fork_parent import ForkParent
from serving.process.forked import fork_parent, start_workers_by
from serving.process.homes import home
from serving.process.releases import Releases, following
from serving.process.settings import (
    BOARD_VARIABLE,
    KEYS_NOTED,
    SHARED_VARIABLE,
    SUPERVISOR_VARIABLE,
    ServeSettings,
)
from serving.process.threads import one_thread_each

_log = logging.getLogger(__name__)
_GRACE_SECONDS: Final = 10
_CHECK_SECONDS: Final = 0.5
# Both libraries report to their makers; ONNX Runtime by a thread besides, which would not survive a fork.
_TOLD_TO_NOBODY: Final = {"BENTOML_DO_NOT_TRACK": "True", "ORT_DISABLE_TELEMETRY": "1"}


def serve(settings: ServeSettings) -> int:
    """Serve until interrupted; return the process's exit code.

    Every file of the release is checked here, so that a damaged one is refused before any worker starts.

    Raises:
        ReleaseError: the release is missing, damaged or does not fit; the message names the file.
        ConfigError: the address cannot be listened on.
    """
    resolved = _resolved(settings)
    _check_address(resolved)
    _check_access(resolved)
    one_thread_each()
    with home("footfall-serve-") as directory:
        # BentoML keeps its metrics files under its home and empties them at start: one home a server.
        os.environ.update(resolved.to_environment() | dict.fromkeys(("BENTOML_HOME", SHARED_VARIABLE), str(directory)))
        os.environ.update(_TOLD_TO_NOBODY)
        if resolved.keys_path.exists():
            note_keys(directory / KEYS_NOTED)
        with _forks() as forks:
            _prepare_live(resolved)
            with following(resolved, directory) as releases:
                _run(resolved, releases, forks)
                releases.check_started()
    return 0


@contextlib.contextmanager
def _forks() -> Iterator[ForkParent | None]:
    """Import the service, and have workers forked from what is imported from here on aside.

    It comes before anything else: what is opened or locked by then would be so in each worker.
    """
    # Imported late: BentoML reads its home, and our service its settings, from the environment.
    importlib.import_module("serving.process.service").FootfallService.inject_config()
    importlib.import_module("_bentoml_impl.server")
    forks = fork_parent()
    try:
        yield forks
    finally:
        if forks is not None:
            forks.close()


def _resolved(settings: ServeSettings) -> ServeSettings:
    """Name paths and address outright: workers have another working directory."""
    store = Path(settings.store).resolve()
    return msgspec.structs.replace(
        settings,
        store=str(store),
        host=_address_of(settings.host),
        live=settings.live.resolved(store),
        webhooks=checked(settings.webhooks).resolved(store),
        access=msgspec.structs.replace(settings.access, keys=str(settings.keys_path.resolve())),
        data=str(Path(settings.data).resolve()) if settings.data else "",
        rules=settings.rules.resolved(),
        experiments=settings.experiments.resolved(store),
    )


def _prepare_live(settings: ServeSettings) -> None:
    """Finish deletions that a crash cut short."""
    store = ReleaseStore(root=Path(settings.store))
    prepare_live(open_live(settings.live, Path(store.root)), ErasureWatch(store.erasures))


def _address_of(host: str) -> str:
    try:
        return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
    except OSError:
        raise ConfigError(f"host: expected an address of this machine such as 127.0.0.1, found {host!r}.") from None


def _check_access(settings: ServeSettings) -> None:
    """Refuse to serve everyone who can reach this address, unless that is what was asked for."""
    keys = KeyFile(settings.keys_path).load()
    if is_loopback(settings.host):
        return
    if settings.access.anonymous:
        _log.warning(
            "%s: other machines can reach this address, and access.anonymous asks nobody who they are; "
            "put a proxy with a login in front that lets only the shop's app through.",
            settings.host,
        )
    elif not keys and not settings.access.oidc.issuer:
        raise ConfigError(
            f"{settings.host}: other machines can reach this address, and nobody has a key; make one with `footfall keys "
            f"add {settings.store} --role app --name shop-app`, or say `access: {{anonymous: true}}` in the settings."
        )


def _check_address(settings: ServeSettings) -> None:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise ConfigError(
                f"{settings.host}:{settings.port}: cannot listen there ({error.strerror}); choose another port or host."
            ) from None


def _run(settings: ServeSettings, releases: Releases, forks: ForkParent | None) -> None:
    os.environ.update({SUPERVISOR_VARIABLE: str(os.getpid()), BOARD_VARIABLE: str(releases.board.directory)})
    # The process manager tells of its sockets and loops; who serves wants to hear of trouble only.
    logging.getLogger("circus").setLevel(logging.WARNING)
    serve_http = importlib.import_module("_bentoml_impl.server").serve_http
    _log.info(
        "serving release %s on http://%s:%d with %d workers",
        *(releases.serving, settings.host, settings.port, settings.workers),
    )
    _notice_dead_workers_soon()
    if forks is not None:
        start_workers_by(forks)
    releases.coordinate()
    # Where the packages are: a worker imports the service by name from its working directory.
    root = Path(serving.__file__).parent.parent
    serve_http(
        "serving.process.service:FootfallService",
        working_dir=str(root),
        host=settings.host,
        port=settings.port,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )


def _notice_dead_workers_soon() -> None:
    """Have BentoML's process manager look for dead workers twice a second; it looks every ten seconds by itself."""
    processes: Any = importlib.import_module("bentoml._internal.utils.circus")
    processes.create_standalone_arbiter = partial(processes.create_standalone_arbiter, check_delay=_CHECK_SECONDS)
