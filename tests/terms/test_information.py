from __future__ import annotations

import pytest
import torch

from lagvae.errors import ProblemError
from lagvae.terms.elbo import distortion, rate
from lagvae.terms.information import mutual_information
from truth import draw_of_codes


def test_pushed_down_it_is_its_upper_bound() -> None:
    assert mutual_information.surrogate(2.0) == {rate: 2.0}


def test_pushed_up_it_is_its_lower_bound_without_the_entropy() -> None:
    assert mutual_information.surrogate(-2.0) == {distortion: 2.0}


def test_estimator_is_handed_to_the_rate() -> None:
    assert mutual_information(estimator="one_sample").surrogate(1.0) == {rate(estimator="one_sample"): 1.0}


def test_itself_is_never_measured() -> None:
    with pytest.raises(ProblemError, match=r"expected a bound of mutual information to measure.*try rate"):
        mutual_information.measure(draw_of_codes(torch.zeros(2, 1)))
