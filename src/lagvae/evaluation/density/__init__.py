"""Densities of codes: the mixture of all posteriors, and what is fitted to them."""
