from __future__ import annotations

import copy
import importlib
import pickle
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

import lagvae as lv
from lagvae.errors import ProblemError
from lagvae.terms.elbo import rate
from lagvae.terms.mmd import mmd
from lagvae.terms.term import Term, register, registered_terms
from truth import draw_of_codes

DRAW = draw_of_codes(torch.tensor([[1.0, 2.0], [3.0, 0.0]]))


def test_calling_a_term_changes_its_options() -> None:
    changed = mmd(kernel="imq", bandwidth=2.0)
    assert (changed.kernel, changed.bandwidth, changed.estimator) == ("imq", 2, "biased")
    assert changed(kernel="rbf").bandwidth == 2
    assert mmd.kernel == "zhao2018"
    assert mmd() is mmd


def test_terms_are_equal_by_name_and_options() -> None:
    assert mmd(kernel="imq") == mmd(kernel="imq")
    assert mmd(kernel="zhao2018") == mmd
    assert mmd(kernel="imq") != mmd
    assert len({mmd, mmd(kernel="zhao2018"), mmd(kernel="imq")}) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernl": "imq"}, "expected an option of mmd, got 'kernl'; try 'kernel'"),
        ({"kernel": "imqq"}, "expected a known value of mmd's kernel, got 'imqq'; try 'imq'"),
        ({"estimator": 3}, "expected a known value of mmd's estimator, got 3; try one of biased, unbiased"),
        ({"bandwidth": -1.0}, "expected a positive number as mmd's bandwidth, got -1.0; try"),
        ({"bandwidth": True}, "expected a positive number as mmd's bandwidth, got True; try"),
        ({"bandwidth": float("inf")}, "expected a positive number as mmd's bandwidth, got inf; try"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ProblemError, match=message):
        mmd(**options)


def test_a_term_without_options_says_so() -> None:
    with pytest.raises(ProblemError, match="expected an option of distortion, got 'estimator'; try one of none"):
        lv.distortion(estimator="analytic")


@pytest.mark.usefixtures("own_registry")
def test_decorated_function_is_a_term() -> None:
    @lv.term
    def energy(draw):  # type: ignore[no-untyped-def]
        return draw.z.square().sum(-1)

    assert str(energy) == "energy"
    assert registered_terms()["energy"] is energy
    assert float(energy.measure(DRAW)) == pytest.approx(7.0)  # (1 + 4 + 9) / 2
    assert energy() is energy
    assert lv.Problem.parse("min energy()") == lv.Problem(lv.Minimize(energy))


@pytest.mark.usefixtures("own_registry")
def test_decorator_takes_a_name_and_properties() -> None:
    @lv.term(name="spread", in_nats=False, may_be_rewarded=False)
    def anything(draw):  # type: ignore[no-untyped-def]
        return draw.z.std()

    assert (anything.name, anything.in_nats, anything.may_be_rewarded) == ("spread", False, False)
    torch.testing.assert_close(anything.measure(DRAW), DRAW.z.std())
    with pytest.raises(ProblemError, match="expected spread to be kept down"):
        lv.Problem(lv.Maximize(anything))


@pytest.mark.usefixtures("own_registry")
def test_function_terms_are_measured_per_model() -> None:
    @lv.term
    def largest(draw):  # type: ignore[no-untyped-def]
        return draw.z.amax((-1, -2))

    stacked = draw_of_codes(torch.arange(12.0).reshape(3, 2, 2))
    torch.testing.assert_close(largest.measure(stacked), torch.tensor([3.0, 7.0, 11.0]))


@pytest.mark.usefixtures("own_registry")
@pytest.mark.parametrize(("value", "got"), [("draw.z.square()", r"\(2, 2\)"), ("3.0", "float")])
def test_a_value_of_another_shape_is_refused(value: str, got: str) -> None:
    odd = lv.term(eval(f"lambda draw: {value}"), name="odd")
    with pytest.raises(lv.ShapeError, match=rf"one for each of 2 examples, from the term odd, got {got}; try"):
        odd.measure(DRAW)


@pytest.mark.usefixtures("own_registry")
def test_a_term_of_a_module_is_sent_to_other_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "import lagvae as lv\n\n@lv.term(in_nats=False)\ndef energy(draw):\n    return draw.z.square().sum(-1)\n"
    (tmp_path / "terms_of_mine.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    energy = importlib.import_module("terms_of_mine").energy
    problem = lv.Problem.parse("min distortion s.t. energy <= 3")
    assert pickle.loads(pickle.dumps(problem)) == problem
    assert pickle.loads(pickle.dumps(energy)) is energy
    there = f"import pickle, sys\nprint(pickle.load(open({str(tmp_path / 'problem')!r}, 'rb')))"
    (tmp_path / "problem").write_bytes(pickle.dumps(problem))
    done = subprocess.run([sys.executable, "-c", there], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "min distortion s.t. energy <= 3"


@pytest.mark.usefixtures("own_registry")
def test_a_term_that_stands_in_no_module_cannot_be_sent() -> None:
    nowhere = lv.term(lambda draw: draw.z.sum(), name="nowhere")
    with pytest.raises(TypeError, match="the term nowhere is of a function that stands in no module"):
        pickle.dumps(nowhere)
    assert copy.deepcopy(nowhere) is nowhere


@pytest.mark.parametrize("given", [64, 64.0, np.int64(64), np.float32(64)])
def test_an_option_is_the_same_term_whichever_number_it_is_given_as(given: float) -> None:
    text = lv.Problem.parse("min distortion + mmd(kernel=rbf, bandwidth=64, features=64)").objective
    (_, (term, _)) = text.quantity.items
    own = mmd(kernel="rbf", bandwidth=given, features=64)
    assert repr(own.kernel_in(4)) == repr(term.kernel_in(4))  # which random features are drawn from
    assert own(features=np.int64(64)) == term


@pytest.mark.usefixtures("own_registry")
def test_a_small_class_is_a_term() -> None:
    @dataclass(frozen=True, eq=False, repr=False)
    class Moment(Term):
        order: float = 2.0
        name = "moment"

        def measure(self, draw):  # type: ignore[no-untyped-def]
            return draw.z.pow(self.order).mean()

    moment = register(Moment())
    problem = lv.Problem.parse("min moment(order=3) s.t. rate <= 2")
    assert problem == lv.Problem(lv.Minimize(moment(order=3.0)), [rate <= 2])
    assert str(problem) == "min moment(order=3) s.t. rate <= 2"
    assert float(moment(order=1.0).measure(DRAW)) == 1.5


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rate", "expected a new name for a term, got 'rate' again; try another name"),
        ("best", "expected a new name for a term, got 'best' again; try another name"),
        ("two words", "expected an identifier as a term's name, got 'two words'; try"),
    ],
)
@pytest.mark.usefixtures("own_registry")
def test_names_are_new_identifiers(name: str, message: str) -> None:
    with pytest.raises(ProblemError, match=message):
        lv.term(lambda draw: draw.z.sum(), name=name)


@pytest.mark.usefixtures("own_registry")
def test_a_cell_that_is_run_again_defines_its_term_again() -> None:
    def cell(factor: float) -> lv.Term:
        @lv.term
        def scaled(draw: Draw) -> Tensor:
            return factor * draw.z.square().sum(-1)

        return scaled  # type: ignore[no-any-return]

    first, second = cell(1.0), cell(2.0)
    assert float(second.measure(DRAW)) == 2 * float(first.measure(DRAW))
    assert lv.Problem.parse("min scaled").objective.surrogate() == {second: 1.0}
    with pytest.raises(ProblemError, match="expected a new name for a term, got 'scaled' again"):
        lv.term(lambda draw: draw.z.sum(-1), name="scaled")


def test_none_is_an_options_value_where_it_is_its_default() -> None:
    assert lv.mmd(features=None, bandwidth=None) == lv.mmd()
    assert lv.Problem.parse("min neg_elbo s.t. mmd(features=none) <= 1e-3") == lv.Problem.parse(
        "min neg_elbo s.t. mmd <= 1e-3"
    )
    with pytest.raises(ProblemError, match="a known value of mmd's kernel"):
        lv.mmd(kernel=None)


def test_the_registry_is_left_as_it_was() -> None:
    assert set(registered_terms()) == {"distortion", "rate", "neg_elbo", "neg_iwae", "mmd", "mutual_information"}
