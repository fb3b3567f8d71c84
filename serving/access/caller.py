"""Who calls: a key, a token, or nobody in particular."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from serving.access.settings import Rate
from serving.api.roles import ROLES, Role


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """A caller that has shown who it is.

    Args:
        name: for the log; of a key or a client, never of a customer.
        roles: what it may do.
        rate: how often.
        bucket: which of the shared buckets its requests flow through, -1 for one by ``bucket_key``.
        bucket_key: names the bucket where there is no number.
        origins: sites whose pages may use the key; any where empty.
        by_address: whether each address has a bucket of its own.
    """

    name: str
    roles: frozenset[Role]
    rate: Rate
    bucket: int = -1
    bucket_key: bytes = b""
    origins: tuple[str, ...] = ()
    by_address: bool = False


EVERY_ROLE: Final[frozenset[Role]] = frozenset(ROLES)


def anonymous(rate: Rate) -> Caller:
    """Return the caller of a service that asks nobody: it may do everything."""
    return Caller(name="anonymous", roles=EVERY_ROLE, rate=rate, bucket=0)
