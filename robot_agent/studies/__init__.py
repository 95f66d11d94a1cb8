"""Studies: whole experiments of many adaptations, each one command, resumable."""
