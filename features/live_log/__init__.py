"""What the service was sent, as the next feature build reads it: an archive by day, and its way into a data directory."""
