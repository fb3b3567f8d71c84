"""The page kit: self-contained HTML pages with plots, readable on a laptop and on a phone."""
