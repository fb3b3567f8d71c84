"""Reports: one self-contained HTML page each, readable on a laptop and on a phone."""
