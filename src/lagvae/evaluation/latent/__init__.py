"""What the codes of a whole data set say: information, divergence from the prior, dimensions in use, usefulness."""
