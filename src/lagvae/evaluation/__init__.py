"""Estimates with error bars, on training and on held-out data."""
