"""A training spread over processes and hosts: who takes part, what they tell each other, how they start and end."""
