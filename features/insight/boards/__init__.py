"""Boards: the shop's figures of a period beside those of another, as the shop lays them out in YAML."""
