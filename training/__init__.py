"""Trains, evaluates, tracks and exports models; reads ``features``, writes release parts."""
