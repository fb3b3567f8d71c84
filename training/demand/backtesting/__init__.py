"""What a forecaster said beside what came: windows, metrics, tables, misses."""
