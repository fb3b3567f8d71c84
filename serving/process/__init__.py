"""The service as processes: settings, start, workers, logs and metrics."""
