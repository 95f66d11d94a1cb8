"""Where the camera is, what it sees and when: measured, judged against gates, kept with a hash."""
