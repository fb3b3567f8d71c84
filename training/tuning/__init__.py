"""Search for settings: what may vary, and the study that tries them out."""
