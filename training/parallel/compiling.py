"""``torch.compile``, where there is a compiler."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def compiled(methods: Sequence[tuple[nn.Module, str]], *, wanted: bool) -> Iterator[None]:
    """Let methods of modules run compiled inside the block.

    The modules stay what they are: a compiled function stands before the method meanwhile, so that parameters keep
    their names, and what is copied or exported afterwards is plain.

    Args:
        methods: modules and names of methods, whose inputs may differ in their first dimension.
        wanted: whether to; with a message and without compiling where no compiler works.
    """
    if not (wanted and _works()):
        yield
        return
    for module, name in methods:
        object.__setattr__(module, name, torch.compile(getattr(module, name), dynamic=True))
    try:
        yield
    finally:
        for module, name in methods:
            object.__delattr__(module, name)


def _works() -> bool:
    try:
        torch.compile(_doubled)(torch.ones(2))
    except Exception as error:  # whatever a tool chain that is missing or broken raises
        logger.warning("compute.compile: no compiler works here (%s); going on without", _first_line(error))
        return False
    return True


def _doubled(values: Any) -> Any:
    return values * 2


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
