"""Bringing a feature directory up to date: what changed in the data since, and what of the earlier build holds still."""
