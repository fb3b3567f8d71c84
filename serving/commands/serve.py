"""``footfall serve``: answer requests from a release."""

from __future__ import annotations

from pathlib import Path

from features.commands.parsing import run_command


def serve(
    store: Path,
    *,
    config: Path | None = None,
    release: str | None = None,
    alias: str = "",
    host: str | None = None,
    port: int | None = None,
    workers: int | None = None,
    data: Path | None = None,
) -> None:
    """Serve recommendations, customers and demand over HTTP until interrupted.

    Args:
        store: release store.
        config: YAML file of settings, such as serving.yaml; docs/serving.md lists them. What is given here beside it wins.
        release: id of the release to serve, whatever is promoted; where left out, the store's current one is followed.
        alias: follow the release that this alias of the registry's footfall-release marks, such as `serving`.
        host: address to listen on; 127.0.0.1, which only this machine can reach, where left out.
        port: TCP port; 3000 where left out.
        workers: processes, 2 where left out; with two or more, one may die without an outage.
        data: the shop's data directory, whose rows `GET /v1/customers/{id}/export` answers too.
    """
    from serving.process.threads import one_thread_each

    one_thread_each()
    from serving.process.launch import serve as launch
    from serving.process.settings import ServeSettings

    given = {
        "store": str(store.resolve()),
        "release_id": release,
        "host": host,
        "port": port,
        "workers": workers,
        "data": None if data is None else str(data.resolve()),
    }
    settings = ServeSettings.read(config, {name: one for name, one in given.items() if one is not None})
    raise SystemExit(launch(settings.following(alias) if alias else settings))


def run(argv: list[str]) -> None:
    """Run ``footfall serve``."""
    run_command(serve, argv, prog="footfall serve")
