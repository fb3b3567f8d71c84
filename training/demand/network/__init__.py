"""The count network: its body and distributions, one training step, one training."""
