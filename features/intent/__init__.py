"""Purchase intent: the calibrated chance that a visit that is under way still ends in a purchase."""
