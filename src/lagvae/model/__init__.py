"""p(z), p(x|z), q(z|x): distributions, networks, the VAE module. Knows no loss."""
