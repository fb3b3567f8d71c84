"""A small language of conditions over customers: YAML in, whom they are true of, since when and until when, out."""
