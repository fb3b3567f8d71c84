"""A process among those of a training: how it finds the others, and how all end when one of them fails.

``torchrun`` says in the environment who takes part (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, ...), and so does
``launching`` on one machine. Numbers on a CPU go through gloo, those on a GPU through nccl.

The first rank that fails tells why. It puts its mark where all can see it; the others, whose calls fail because it is
gone, find the mark and leave without a word, so that one mistake makes one message.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from features.errors import ConfigError, FootfallError
from training.parallel.ranks import Ranks
from training.parallel.settings import ComputeConfig, processes_started_outside

Result = TypeVar("Result")

# How long a wait for what rank 0 does alone may take: an index over many items, an upload.
_PATIENCE: Final = dt.timedelta(days=2)
# A rank that was only dragged along stays this long, so that a launcher does not end the one that tells.
_LAST_WORDS_S: Final = 1.0
_FAILURES: Final = "footfall/failures"
# How gloo and nccl say that another process is gone or silent.
_GONE: Final = re.compile(r"gloo|nccl|connection (closed|reset|refused)|timed? ?out|broken pipe|socket", re.IGNORECASE)

logger = logging.getLogger(__name__)


class RankLost(FootfallError):
    """Another process of a training ended, or fell silent, without saying why."""


def run_as_rank(work: Callable[[Ranks], Result], settings: ComputeConfig) -> Result:
    """Do one rank's part of ``work`` among those that the environment names.

    Raises:
        RankLost: another rank was killed or cannot be reached any more.
        SystemExit: another rank failed and has said why.
    """
    with _membership(settings) as (ranks, store):
        if not ranks.is_first:
            logging.getLogger().setLevel(logging.WARNING)
        try:
            return work(ranks)
        except BaseException as error:
            if _is_first_to_fail(store):
                if _is_of_the_network(error):
                    raise _lost(error, ranks) from error
                raise
            time.sleep(_LAST_WORDS_S)
            raise SystemExit(getattr(error, "exit_code", FootfallError.exit_code)) from None


@contextlib.contextmanager
def _membership(settings: ComputeConfig) -> Iterator[tuple[Ranks, Any]]:
    world, local = processes_started_outside(), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if world % local:
        raise ConfigError(
            f"torchrun: expected as many processes on each host, found {local} of {world} on this one; "
            "give all hosts the same --nproc-per-node."
        )
    if settings.processes not in (1, local):
        raise ConfigError(
            f"compute.processes: torchrun has started {local} here, found {settings.processes}; leave the setting out."
        )
    _use_loopback(os.environ["MASTER_ADDR"])
    timeout = dt.timedelta(minutes=settings.timeout_minutes)
    store, rank, of = next(iter(rendezvous("env://", timeout=timeout)))
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and settings.accelerator != "cpu" else "gloo"
    dist.init_process_group(backend, store=PrefixStore("footfall", store), rank=rank, world_size=of, timeout=timeout)
    ranks = Ranks(
        rank=rank,
        of=of,
        local_rank=int(os.environ["LOCAL_RANK"]),
        local_of=local,
        patient=dist.new_group(backend="gloo", timeout=_PATIENCE),
    )
    try:
        yield ranks, store
        ranks.wait()  # the one that holds the store must not leave first
    finally:
        dist.destroy_process_group()


def _use_loopback(address: str) -> None:
    """Keep what never leaves this machine on its loopback, whatever its host name resolves to."""
    if address not in ("127.0.0.1", "localhost"):
        return
    names = {name for _, name in socket.if_nameindex()}
    if loopback := sorted(names & {"lo", "lo0"}):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback[0])


def _is_first_to_fail(store: Any) -> bool:
    """Whether nobody failed before; where the store itself is gone, so is the one that held it."""
    try:
        return int(store.add(_FAILURES, 1)) == 1
    except RuntimeError:
        return True


def _is_of_the_network(error: BaseException) -> bool:
    return isinstance(error, dist.DistError) or (type(error) is RuntimeError and bool(_GONE.search(str(error))))


def _lost(error: BaseException, ranks: Ranks) -> RankLost:
    detail = str(error).strip().splitlines()[0].split(". This is typically", 1)[0]
    return RankLost(
        f"rank {ranks.rank} of {ranks.of}: expected every process of the training to answer, and one of them did not "
        f"({detail}). It was killed, ran out of memory, or its host is gone; go on with --resume."
    )
