"""Releases: signed bundles of weights, the registry that holds them, the gate that proves them."""
