"""Answers requests from a release directory; reads ``features``, never ``training``."""
