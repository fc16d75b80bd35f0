"""How a step is taken: batches, optimisers, one session or a stack of them, eagerly or recorded."""
