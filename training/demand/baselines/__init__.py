"""What a demand model has to beat, from last season's units to boosted trees.

``simple`` (empirical quantiles, seasonal naive), ``croston`` and ``carts`` cost next to nothing and stand in every
training's report. ``trees`` needs the extra packages of ``pip install footfall[baselines]`` and is for benchmarks.
"""

from training.demand.baselines.simple import EmpiricalQuantiles, EmpiricalTotals, NormalTotals, SeasonalNaive

__all__ = ["EmpiricalQuantiles", "EmpiricalTotals", "NormalTotals", "SeasonalNaive"]
