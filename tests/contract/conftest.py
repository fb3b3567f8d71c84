"""What tests across packages share."""

from tests.mlflow_databases import migrate_once

__all__ = ["migrate_once"]
