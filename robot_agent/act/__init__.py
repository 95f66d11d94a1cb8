"""The fast loop: observation pairing, chunking, the policy slot, the episode loop."""
