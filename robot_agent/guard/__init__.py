"""The only road to the motors: limits, arbiter, watchdogs, latch and the pure step function."""
