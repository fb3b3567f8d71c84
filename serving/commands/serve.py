"""``footfall serve``: answer requests from a release."""

from __future__ import annotations

from pathlib import Path

from features.commands.parsing import run_command


def serve(
    store: Path,
    *,
    release: str = "",
    alias: str = "",
    host: str = "127.0.0.1",
    port: int = 3000,
    workers: int = 2,
    data: Path | None = None,
    deadline_seconds: float = 10.0,
    max_body_bytes: int = 1 << 20,
) -> None:
    """Serve recommendations, customers and demand over HTTP until interrupted.

    Args:
        store: release store.
        release: id of the release to serve; the store's current one where left out.
        alias: serve the release that this alias of the registry's footfall-release marks, such as `serving`.
        host: address to listen on; only this machine can reach the default.
        port: TCP port.
        workers: processes; with two or more, one may die without an outage.
        data: the shop's data directory, whose rows `GET /v1/customers/{id}/export` answers too.
        deadline_seconds: a request that takes longer is answered with an error.
        max_body_bytes: larger request bodies are refused.
    """
    from serving.process.launch import serve as launch
    from serving.process.settings import ServeSettings

    if alias:
        from serving.commands.alias import release_of_alias

        release = release_of_alias(store, alias)
    settings = ServeSettings(
        store=str(store.resolve()),
        release_id=release,
        host=host,
        port=port,
        workers=workers,
        data="" if data is None else str(data),
        deadline_seconds=deadline_seconds,
        max_body_bytes=max_body_bytes,
    )
    raise SystemExit(launch(settings))


def run(argv: list[str]) -> None:
    """Run ``footfall serve``."""
    run_command(serve, argv, prog="footfall serve")
