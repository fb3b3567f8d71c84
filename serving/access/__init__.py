"""Who may call, how often, and how many at once: keys, tokens of an identity provider, rates and queues."""
