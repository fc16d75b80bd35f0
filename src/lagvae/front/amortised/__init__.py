"""One network modulated by the weights of a problem: the whole front from one run, and the dual solved on it."""
