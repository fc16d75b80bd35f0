"""Many problems at once: one network modulated by the weights, the dual solved on it, dedicated runs."""
