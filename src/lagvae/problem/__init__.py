"""Objective, constraints, problem, the text form, presets: pure data, no tensors."""
