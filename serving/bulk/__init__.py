"""Lists for many users at once, as the service answers them one by one: `footfall recommend` (docs/bulk.md)."""
