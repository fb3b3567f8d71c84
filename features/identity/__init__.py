"""One customer out of the ids it goes by: evidence, components, the map, the merge log, and undoing a link."""
