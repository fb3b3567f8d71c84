"""What the release knows of its items, for people who look at lists."""
