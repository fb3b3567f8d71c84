"""Randomised tests: from who was dealt which arm, and what they did, to lifts that carry their uncertainty."""
