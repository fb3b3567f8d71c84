"""A release in memory, checked before anything reads it."""
