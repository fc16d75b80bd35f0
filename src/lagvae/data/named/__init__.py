"""Data sets that have a name: which there are, how their files get here, and what is in them."""
