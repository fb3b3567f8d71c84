"""New MLflow databases, copied from one that MLflow's own migrations made.

A store's database takes some fifty migrations, about a second of work; scores of tests open a store of their own.
Commands that tests start as processes run the migrations themselves.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator

import pytest
import sqlalchemy
from mlflow.store.db import utils
from mlflow.store.model_registry import sqlalchemy_store as registry


@pytest.fixture(scope="session", autouse=True)
def migrate_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fill new databases with what the migrations made of the session's first one."""
    template = tmp_path_factory.mktemp("mlflow") / "new.db"
    migrate = utils._initialize_tables

    def initialize(engine: sqlalchemy.Engine) -> None:
        if engine.dialect.name != "sqlite" or sqlalchemy.inspect(engine).get_table_names():
            migrate(engine)  # an older database is brought up to date
            return
        if not template.exists():
            first = sqlalchemy.create_engine(f"sqlite:///{template}")
            migrate(first)
            first.dispose()
        with (
            contextlib.closing(sqlite3.connect(template)) as source,
            contextlib.closing(engine.raw_connection()) as new,
        ):
            source.backup(new.driver_connection)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utils, "_initialize_tables", initialize)
        patch.setattr(registry, "_initialize_tables", initialize)
        yield
