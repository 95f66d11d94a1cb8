"""The simulated robot: MuJoCo wx250s, scenes, tasks, demonstrators, faults."""
