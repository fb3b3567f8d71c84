"""The webhook outbox: triggers and alerts, kept on disk until another system has taken them."""
