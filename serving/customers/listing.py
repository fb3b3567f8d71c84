"""Ids of customers, for people who pick one: spread over the table, or those that begin with some letters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice

import numpy as np

from features.columns import ANALYTICS
from serving.api.errors import missing_part
from serving.api.schemas import CustomersAnswer, CustomersRequest
from serving.privacy.consents import ConsentWatch
from serving.privacy.erasures import ErasureWatch
from serving.release.state import ReleaseState


def listed(
    state: ReleaseState,
    request: CustomersRequest,
    *,
    erased: ErasureWatch,
    consents: ConsentWatch,
    live: Callable[[], Iterable[str]],
) -> CustomersAnswer:
    """Return some customers who consent to analytics: spread over those with a history, or by prefix.

    Args:
        state: the release.
        request: how many, and which.
        erased: the erasure list.
        consents: what may serve what.
        live: ids with events sent to this service; read where a prefix is given.

    Raises:
        RequestError: the release holds no customers.
    """
    if state.histories is None:
        raise missing_part("customers")
    users = state.histories.users
    if request.prefix:
        others = (id_ for id_ in live() if id_ not in users)
        found = (id_ for id_ in chain(users.ids, others) if id_.startswith(request.prefix))
    else:
        rows = np.flatnonzero(state.histories.sequences.lengths)
        found = iter(users.ids[rows[np.linspace(0, len(rows) - 1, min(len(rows), request.limit)).astype(int)]])
    return CustomersAnswer(user_ids=list(islice(_visible(found, erased, consents), request.limit)))


def _visible(found: Iterator[str], erased: ErasureWatch, consents: ConsentWatch) -> Iterator[str]:
    while page := list(islice(found, 100)):
        known = [id_ for id_ in page if id_ not in erased]
        allowed = consents.allowed(known, ANALYTICS)
        yield from (id_ for id_ in known if id_ in allowed)
