"""Audiences: saved rules that are previewed, listed, exported, compared and grown to look-alikes."""
