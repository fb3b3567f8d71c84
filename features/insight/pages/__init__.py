"""Pages of insight: what customers did, and which campaigns paid."""
