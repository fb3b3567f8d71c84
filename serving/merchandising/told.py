"""Stock as callers tell it."""

from __future__ import annotations

from serving.api.errors import RequestError
from serving.api.merchandising_schemas import StockAnswer, StockRequest
from serving.history.stored import to_microseconds
from serving.merchandising.stock import LiveStock, StockRow
from serving.release.state import ReleaseState
from serving.surfaces.clock import MOST_AHEAD_US


def keep_stock(stock: LiveStock | None, request: StockRequest, state: ReleaseState, *, now_us: int) -> StockAnswer:
    """Keep what a request tells; it is on disk when this returns.

    Args:
        stock: the log.
        request: rows as they came.
        state: the release.
        now_us: the present.

    Raises:
        RequestError: an instant has not passed yet, or this process keeps no stock.
    """
    if stock is None:
        raise RequestError(409, "stock_not_kept", "This process keeps no stock; start `footfall serve`.")
    rows = []
    for number, one in enumerate(request.items):
        at_us = now_us if one.at is None else to_microseconds(one.at)
        if at_us > now_us + MOST_AHEAD_US:
            where = f"items[{number}].at"
            raise RequestError(422, "invalid_request", f"{where}: expected an instant that has passed, found {one.at}.")
        rows.append(StockRow(one.item_id, one.stock, one.region or "", at_us))
    unknown = sorted({row.item_id for row in rows} - state.item_codes.keys())
    return StockAnswer(changed=stock.add(rows), unknown_items=unknown)
