"""Where data directories come from: a public grocery log, a shop's own files, a simulated shop."""
