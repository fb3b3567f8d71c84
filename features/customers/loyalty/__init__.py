"""Loyalty points: rules from YAML, a ledger from the log, a balance and the next step for each customer."""
