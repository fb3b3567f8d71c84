"""Pages about customers: who they are, for a shop; and one customer's year, for that customer."""
