"""Forecasts, orders, alerts and what another plan would sell."""
