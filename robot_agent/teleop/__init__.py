"""What an operator's device means: pure mappings to one kind of sample, whatever the device."""

DEVICES = ("keyboard", "gamepad", "spacemouse", "spacenav", "vr", "leader")
"""Kinds of device, as users name them."""
