"""The same work in other servers: the release's tower and index behind bare Starlette and BentoML's own endpoint.

    python benchmarks/serving_peers.py KIND --store DIR --port PORT

``KIND`` is ``starlette``, ``starlette_batched``, ``bentoml``, ``bentoml_batched``, or ``trivial``: an app that answers at
once, which shows what the load generator itself can do. Each reads ``{"events": [...], "k": 100}`` as ``POST
/v1/recommend`` does and answers items with ids, scores and titles.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import msgspec
import numpy as np
import numpy.typing as npt
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from features.columns import EVENT_TYPE_CODES
from features.release import ReleaseStore
from features.sequences import Sequences
from serving.api.schemas import RecommendRequest
from serving.history.stored import to_microseconds
from serving.release.state import ReleaseState
from serving.retrieval.item_index import Ask

KINDS: Final = ("starlette", "starlette_batched", "bentoml", "bentoml_batched", "trivial")
_BATCH: Final = 32
STORE_VARIABLE: Final = "FOOTFALL_BENCHMARK_STORE"
_NONE: Final = np.zeros(0, np.int64)


class Item(msgspec.Struct):
    """One item of an answer."""

    item_id: str
    score: float
    title: str


class Items(msgspec.Struct):
    """An answer."""

    items: list[Item]


class Ranking:
    """Tower, index and names of a release, without anything around them.

    Args:
        store: where the release is.
    """

    def __init__(self, store: Path) -> None:
        self._state = ReleaseState.load(ReleaseStore(root=store))
        self._decoder = msgspec.json.Decoder(RecommendRequest)
        self._encoder = msgspec.json.Encoder()
        self._ids = self._state.item_ids.tolist()
        self._titles = self._state.catalog.title.tolist()

    def answer(self, body: bytes) -> bytes:
        """Answer one request."""
        return self.answer_all([body])[0]

    def answer_all(self, bodies: Sequence[bytes]) -> list[bytes]:
        """Answer several requests together."""
        requests = [self._decoder.decode(body) for body in bodies]
        found = self.rank(self.sequences(requests), [request.k for request in requests])
        return [self._encoder.encode(self._written(*found[row])) for row in range(len(found))]

    def answer_parsed(self, requests: Sequence[tuple[Any, int]]) -> list[dict[str, Any]]:
        """Answer requests whose JSON somebody else reads and writes."""
        parsed = [msgspec.convert({"events": events, "k": k}, RecommendRequest) for events, k in requests]
        found = self.rank(self.sequences(parsed), [request.k for request in parsed])
        return [msgspec.to_builtins(self._written(*one)) for one in found]

    def rank(self, sequences: Sequences, ks: Sequence[int]) -> list[tuple[npt.NDArray[Any], npt.NDArray[Any]]]:
        """Return codes and scores of each user's best items: the tower and the index, and no more."""
        vecs = self._state.tower.encode(sequences)
        found = self._state.index.search(vecs, [Ask(k=k, excluded=_NONE) for k in ks])
        return [found.list_of(row) for row in range(len(ks))]

    def sequences(self, requests: Sequence[RecommendRequest]) -> Sequences:
        """Return what the requests' events are in the release's codes."""
        state = self._state
        events = [event for request in requests for event in request.events]
        codes = state.item_codes
        item = np.fromiter((codes[event.item_id] for event in events), np.int32, len(events))
        return Sequences(
            offsets=np.cumsum([0, *(len(request.events) for request in requests)]),
            item=item,
            event_type=np.fromiter((EVENT_TYPE_CODES[event.event_type] for event in events), np.int8, len(events)),
            ts=np.fromiter((to_microseconds(event.ts) for event in events if event.ts), np.int64, len(events)),
            price_band=state.catalog.price_band[item],
        )

    def _written(self, codes: npt.NDArray[Any], scores: npt.NDArray[Any]) -> Items:
        pairs = zip(codes.tolist(), scores.tolist(), strict=True)
        return Items(items=[Item(self._ids[code], float(f"{score:.6g}"), self._titles[code]) for code, score in pairs])


class Batcher:
    """The micro-batcher in its fewest lines: what arrives while a batch is computed is the next."""

    def __init__(self, ranking: Ranking) -> None:
        self._ranking = ranking
        self._waiting: list[tuple[bytes, asyncio.Future[bytes]]] = []
        self._task: asyncio.Task[None] | None = None

    async def ask(self, body: bytes) -> bytes:
        """Answer one body."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((body, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drain())
        return await future

    async def _drain(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]
            answers = await asyncio.to_thread(self._ranking.answer_all, [body for body, _ in batch])
            for (_, future), answer in zip(batch, answers, strict=True):
                future.set_result(answer)


def starlette_app(kind: str, store: Path) -> Any:
    """Return a Starlette app with one route."""
    ranking = None if kind == "trivial" else Ranking(store)
    batcher = None if ranking is None else Batcher(ranking)

    async def recommend(http: Request) -> Response:
        body = await http.body()
        if ranking is None or batcher is None:
            content = b"{}"
        else:
            content = await batcher.ask(body) if kind == "starlette_batched" else ranking.answer(body)
        return Response(content, media_type="application/json")

    return Starlette(routes=[Route("/v1/recommend", recommend, methods=["POST"])])


async def trivial_app(scope: Any, _: Any, send: Any) -> None:
    """Answer at once."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"{}"})


def serve_with_uvicorn(kind: str, store: Path, port: int) -> None:
    """Serve as BentoML's worker does: one process, no access log."""
    app = trivial_app if kind == "trivial" else starlette_app(kind, store)
    uvicorn.run(app, host="127.0.0.1", port=port, access_log=False, log_level="error", server_header=False)


def serve_with_bentoml(kind: str, store: Path, port: int) -> None:
    """Serve BentoML's own endpoint."""
    os.environ[STORE_VARIABLE] = str(store)
    os.environ["BENTOML_DO_NOT_TRACK"] = "True"
    name = {"bentoml": "Plain", "bentoml_batched": "Batched"}[kind]
    service = getattr(importlib.import_module("benchmarks.serving_bentoml"), name)
    service.inject_config()
    serve_http = importlib.import_module("_bentoml_impl.server").serve_http
    root = str(Path(__file__).resolve().parents[1])
    serve_http(f"benchmarks.serving_bentoml:{name}", working_dir=root, host="127.0.0.1", port=port)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    serve = serve_with_bentoml if arguments.kind.startswith("bentoml") else serve_with_uvicorn
    serve(arguments.kind, arguments.store, arguments.port)


if __name__ == "__main__":
    main()
