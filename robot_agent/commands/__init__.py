"""The commands of `robot-agent`, one module per group; heavy imports wait for the command."""
