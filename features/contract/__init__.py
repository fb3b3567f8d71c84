"""The data contract: which tables a shop brings, and what each column must hold."""

from features.contract.tables import TABLES, Column, Table

__all__ = ["TABLES", "Column", "Table"]
