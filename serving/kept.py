"""Answers of a method, kept for the next time, that do not keep its object."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

A = TypeVar("A")


def kept(method: Callable[..., A], *, maxsize: int) -> Callable[..., A]:
    """Return a bound method whose newest answers are kept; assign it to an attribute of its object.

    ``lru_cache`` over a method holds the object: over the class for as long as the process lives, over the bound method
    until the collector of cycles comes by. What belongs to a release has to go with it, files mapped into memory too.

    Args:
        method: bound, of hashable arguments.
        maxsize: how many answers are kept.
    """
    weak: Any = weakref.WeakMethod(method)

    def computed(*values: Any) -> A:
        bound = weak()
        assert bound is not None, "asked through the object, which is alive"
        found: A = bound(*values)
        return found

    return lru_cache(maxsize=maxsize)(computed)
