"""The two-tower: batches, towers, losses, training, export."""
