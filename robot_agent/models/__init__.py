"""Policies, world models, autoencoders and judges; each backend one file. Torch lives here."""
