"""Chances: how they are learned from a few variables, calibrated, and scored."""
