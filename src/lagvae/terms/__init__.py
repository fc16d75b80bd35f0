"""What can be measured on a batch and differentiated, and the algebra that makes problems of it."""
