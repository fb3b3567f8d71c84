"""Who may call what: the roles that a key or a token carries, and the queue that a call waits in."""

from __future__ import annotations

from typing import Final, Literal, get_args

Role = Literal["app", "analyst", "admin", "tracker"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)

# What a role may do, in a line of the documents.
ROLE_WORDS: Final[dict[Role, str]] = {
    "app": "the shop's app: recommend, send events and consents, look a customer up",
    "analyst": "people who read: customers, segments, audiences, items, demand, recommendations",
    "admin": "everything, erasure and export among it",
    "tracker": "a browser of the shop's page: send events, nothing else; such a key may be public",
}

# Each has a queue of its own, so that none can starve another: one question, a write to disk, one thing looked up,
# and what may take seconds.
Lane = Literal["recommend", "write", "lookup", "bulk"]
LANES: Final[tuple[Lane, ...]] = get_args(Lane)
