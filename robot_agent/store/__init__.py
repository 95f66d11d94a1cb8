"""Episodes on disk: the road from the fast loop to the slow one, and what training reads of it."""
