"""Multipliers, dual rules, the Lagrangian, KKT residuals."""
