"""Demand: one global model for all items, whose forecasts are distributions over whole units.

``config`` -> ``inputs`` (panel to windows) -> ``network`` (windows to distributions) -> ``fit`` -> ``export``;
``backtesting`` beside ``baselines`` says how good it is, ``calibrate`` mends its levels, ``decisions``, ``effects`` and
``hierarchy`` say what follows.
"""
