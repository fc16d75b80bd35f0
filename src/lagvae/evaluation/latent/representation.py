"""What a simple classifier can read from the codes."""

from __future__ import annotations

import math
import warnings

from lagvae.errors import DataError, expected
from lagvae.evaluation.codes import Codes
from lagvae.evaluation.estimate import Estimate

ITERATIONS = 200


def linear_probe(train: Codes, test: Codes) -> Estimate:
    """The accuracy on ``test`` of a logistic regression from posterior means to labels, fitted to ``train``.

    On standardised means, with scikit-learn's default penalty (C = 1) and at most 200 iterations.

    Units: share of the test examples. Bias: none, as the accuracy of this very probe; another, better fitted
    one may read higher. Error: √(p̃ (1-p̃)/(N+4)) with p̃ = (Np + 2)/(N + 4), of the test examples only: it is not 0 where
    all are right [Agresti1998].

    Raises:
        DataError: A part has no labels, or the training part only one class.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression  # slow to import, and only needed here

    for name, codes in (("train", train), ("test", test)):
        if codes.labels is None:
            raise DataError(
                expected(f"labels in the {name} part", got="none", fix="data with labels, such as 'mnist' or 'digits'")
            )
    assert train.labels is not None
    assert test.labels is not None
    classes = len(train.labels.unique())
    if classes < 2:
        raise DataError(expected("two classes or more to tell apart", got=classes, fix="data with other labels"))
    mean = train.posterior.mean
    centre, scale = mean.mean(0), mean.std(0).clamp_min(1e-6)
    features, held_out = (((codes.posterior.mean - centre) / scale).cpu().numpy() for codes in (train, test))
    classifier = LogisticRegression(max_iter=ITERATIONS)
    with warnings.catch_warnings():
        # A probe that is stopped early is still a probe, and its accuracy is what it is.
        warnings.simplefilter("ignore", ConvergenceWarning)
        classifier.fit(features, train.labels.numpy())
    p, count = float(classifier.score(held_out, test.labels.numpy())), len(test)
    centred = (count * p + 2) / (count + 4)
    return Estimate(
        value=p,
        standard_error=math.sqrt(centred * (1 - centred) / (count + 4)),
        unit="accuracy",
        bias="none",
        method=f"logistic regression on posterior means, {len(train)} train examples, {classes} classes",
        examples=count,
    )
