"""Demand: one global model for all items, whose forecasts are distributions over whole units.

``config`` -> ``inputs`` (panel to windows) -> ``model`` (windows to ``distributions``) -> ``module`` (Lightning)
-> ``fit`` -> ``backtest`` and ``export``.
"""
