"""What a run ended as: its solution, what went wrong, what to ask for instead."""
