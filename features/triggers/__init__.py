"""Triggers: reasons to write to a customer now, with the item, the best hour, and what holds a message back."""
