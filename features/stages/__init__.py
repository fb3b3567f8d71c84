"""A feature build as a list of named stages: what each reads and writes, who does it, and how a killed build goes on."""
