"""The main job from end to end on a real shop's log."""
