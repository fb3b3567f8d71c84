"""Whom a campaign moved: a model of each customer's uplift, and how well an order of customers finds those it moves."""
