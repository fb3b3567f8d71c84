"""What the network reads: a panel laid out as windows, pure functions of an item and an origin."""
