"""What an operator's device means: pure mappings to one kind of sample, whatever the device."""

DEVICES = ("keyboard", "gamepad", "spacemouse", "spacenav", "vr", "leader")
"""Kinds of device, as users name them."""
REMOTE_DEVICES = tuple(name for name in DEVICES if name != "keyboard")
"""Those that need no terminal; a keyboard is `robot-agent teleop` in a shell."""
