"""SQL over the contract's tables, read-only."""
