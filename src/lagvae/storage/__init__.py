"""Plain files that are whole or not there at all: checkpoints, and a run's folder."""
