"""Figures from finished runs."""
