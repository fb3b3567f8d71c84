"""Bestsellers: what goes with buying them, among those who look at them."""
