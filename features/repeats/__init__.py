"""What a customer buys again, and how it is blended with what is new."""
