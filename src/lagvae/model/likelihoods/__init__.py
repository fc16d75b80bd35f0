"""p(x|z): how a decoder's output scores an example. Each is normalised over what it calls x, in nats.

* :mod:`~lagvae.model.likelihoods.likelihood`: what a VAE asks of any of them;
* :mod:`~lagvae.model.likelihoods.bernoulli` and :mod:`~lagvae.model.likelihoods.continuous_bernoulli`: [0, 1];
* :mod:`~lagvae.model.likelihoods.gaussian`: real numbers, with fixed, learned or optimal variance;
* :mod:`~lagvae.model.likelihoods.levels`: the 256 levels of a byte;
* :mod:`~lagvae.model.likelihoods.counts`: 0, 1, 2, ...;
* :mod:`~lagvae.model.likelihoods.names`: by their names, and which one fits the data.
"""
