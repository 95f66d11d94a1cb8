"""ROS 2 nodes: wiring between topics and the packages below; no decisions are made here."""
