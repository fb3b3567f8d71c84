"""Slots: what each place of a page earns, corrected for where it is, and which items should stand in it."""
