"""fit(): one readable loop, and what it stands on: settings, checkpoints, a run's folder, progress."""
