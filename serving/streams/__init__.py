"""Events that come through a stream of the shop's instead of calls: each into live state, exactly once."""
