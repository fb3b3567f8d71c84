"""Who each customer is: one row each, as of one day."""
