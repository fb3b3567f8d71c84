"""Every error that Footfall raises on purpose.

    FootfallError
    ├── ConfigError     a setting or an argument is wrong             exit code 2
    ├── DataError       input data breaks the contract                exit code 3
    │   ├── UnknownId   an id that no table, log or release knows     exit code 3
    │   └── ConsentMissing  a customer does not agree to this         exit code 3
    └── ReleaseError    a release is missing, damaged or mismatched   exit code 4
        └── NotPromoted the rule of promotion keeps what is served    exit code 4

Each message says what was expected, what was found and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class FootfallError(Exception):
    """The base of every error below; catch it to catch them all."""

    exit_code = 1


class ConfigError(FootfallError):
    """A setting or an argument is wrong."""

    exit_code = 2


class DataError(FootfallError):
    """Input data breaks the contract."""

    exit_code = 3


class UnknownId(DataError):
    """An id that no table, log or release knows."""


class ConsentMissing(DataError):
    """A customer does not agree to what is asked for."""


class ReleaseError(FootfallError):
    """A release is missing, damaged or does not fit together."""

    exit_code = 4


class NotPromoted(ReleaseError):
    """A candidate is sound, but the rule of promotion keeps what is served."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the known word closest to ``word``, or an empty string.

    >>> did_you_mean("purchse", ["view", "purchase"])
    " Did you mean 'purchase'?"
    >>> did_you_mean("zzz", ["view", "purchase"])
    ''
    """
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else ""
