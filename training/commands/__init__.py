"""One small module per command-line verb."""
