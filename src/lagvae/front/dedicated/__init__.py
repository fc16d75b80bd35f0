"""A run for every point of a front: the plan, where runs go, what is seen meanwhile."""
