"""Many problems at once: what every front is, and the two ways to one."""
