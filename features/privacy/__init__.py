"""Consent, pseudonyms, small groups, access and erasure: what a customer may ask of a shop, and what may leave it."""
