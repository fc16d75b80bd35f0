"""log p(x): from the encoder, by annealing, and what a decoder could compress to."""
