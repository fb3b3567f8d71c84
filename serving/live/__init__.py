"""What is sent to the service: checked, durable before it is acknowledged, seen by the next answer."""
