"""What an operator's device means: pure mappings to one kind of sample, whatever the device."""
