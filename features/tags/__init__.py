"""Tags: named rules over customers, with since, until and evidence, and how much each says of the next period."""
