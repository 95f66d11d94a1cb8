"""The published video world model (WorldGym): network, samplers, checkpoint, imagination."""
