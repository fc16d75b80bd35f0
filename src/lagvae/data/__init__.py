"""Where examples come from, and what is true of them before a model sees them.

* :mod:`lagvae.data.dataset`: ``open_data``, which opens every kind of source as a ``Data``;
* :mod:`lagvae.data.examples`: ``Examples``, one part of it, and ``binarise``, what a Bernoulli model is fed;
* :mod:`lagvae.data.named.fetch`: ``fetch``, which brings a named set to this machine and verifies it;
* :mod:`lagvae.data.checks`: whether the values are ones a likelihood can score.
"""
