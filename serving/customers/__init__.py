"""Who a customer is now: profile, segments, tags, audiences, open triggers, cart and intent."""
