"""Funnels: how far units get along the steps of a definition, how long it takes, and where they stop."""
