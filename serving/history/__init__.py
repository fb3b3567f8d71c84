"""What a user did: stored in the release, sent here since, and sent with the request."""
