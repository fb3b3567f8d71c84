"""Who gets which variant, what is tried out on purpose, and what was shown to whom."""
