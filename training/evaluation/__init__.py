"""How good a model is: full ranking, honest baselines, and an interval on every figure."""
