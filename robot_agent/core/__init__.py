"""What every package shares: types, seams, geometry, kinematics, configuration, clock."""
