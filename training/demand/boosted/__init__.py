"""Boosted trees beside the network, in one forecast: for panels that have shown every season of the year twice."""
