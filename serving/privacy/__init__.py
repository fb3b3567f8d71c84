"""Consent, access and erasure, as every answer respects them."""
