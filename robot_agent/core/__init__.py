"""Words that every package shares: types, protocols, geometry, kinematics, configuration, clock."""
