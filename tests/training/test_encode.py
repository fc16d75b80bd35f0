"""encode(): every example's code, in an order that the user's own rows have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import lagvae as lv
from lagvae.training.encode import encode
from tiny_runs import run

ROWS = np.random.default_rng(0).normal(size=(200, 5)).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a file of rows with labels."""
    place = tmp_path_factory.mktemp("rows")
    np.savez(place / "rows.npz", x=ROWS, y=np.arange(200))
    run(place / "run", "min neg_elbo", str(place / "rows.npz"), held_out=0.2)
    return place / "run"


def test_all_examples_stand_in_the_order_of_the_file(folder: Path) -> None:
    solution = lv.load(folder)
    codes, labels = encode(solution)
    expected = solution.model.encode(torch.from_numpy(ROWS)).numpy()
    assert codes == pytest.approx(expected, abs=1e-6)
    assert labels is not None
    assert labels.tolist() == list(range(200))


def test_parts_are_those_of_the_run(folder: Path) -> None:
    solution = lv.load(folder)
    every, _ = encode(solution)
    seen = []
    for part in ("train", "held_out", "test"):
        codes, labels = encode(solution, part=part)
        assert labels is not None
        assert codes == pytest.approx(every[labels], abs=1e-6)
        seen += labels.tolist()
    assert sorted(seen) == list(range(200))
    assert labels.tolist() == list(range(9, 200, 10))


def test_other_data_with_and_without_labels(folder: Path) -> None:
    solution = lv.load(folder)
    codes, labels = encode(solution, ROWS[:3])
    assert (codes.shape, labels) == ((3, 2), None)
    assert codes == pytest.approx(encode(solution)[0][:3], abs=1e-6)
    with pytest.raises(
        lv.ShapeError, match=r"examples of shape \(5,\), as those that the model was trained on, got \(4,\)"
    ):
        encode(solution, ROWS[:, :4])
    with pytest.raises(lv.DataError, match="a part of the data: train, test, got held_out; try --part all"):
        encode(solution, ROWS, part="held_out")


def test_data_of_other_columns_are_refused_in_a_line(folder: Path) -> None:
    solution = lv.load(folder)
    message = (
        r"expected examples of shape \(5,\), as those that the model was trained on, got \(4,\); try data of the same"
    )
    with pytest.raises(lv.ShapeError, match=message):
        encode(solution, ROWS[:, :4])
    with pytest.raises(lv.ShapeError, match=message):
        lv.evaluate(solution, ROWS[:, :4], quick=True)


def test_named_data_are_train_then_test() -> None:
    solution = run(epochs=1)
    codes, labels = encode(solution)
    assert solution.data is not None
    assert labels is not None
    assert solution.data.train.labels is not None
    assert solution.data.test.labels is not None
    assert labels.tolist() == [*solution.data.train.labels.tolist(), *solution.data.test.labels.tolist()]
    again, _ = encode(solution)
    other, _ = encode(solution, seed=1)
    assert np.array_equal(codes, again)
    assert not np.array_equal(codes, other)  # grey pixels are drawn as bits


def test_arrays_that_are_gone_are_asked_for() -> None:
    solution = run(problem="min neg_elbo", data=ROWS, epochs=1)
    assert len(encode(solution)[0]) == 200
    solution.data = None
    with pytest.raises(lv.DataError, match="expected data to evaluate on, got none"):
        encode(solution)


def test_a_file_that_holds_other_rows_by_now_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", x=ROWS)
    solution = run(tmp_path / "run", "min neg_elbo", str(tmp_path / "rows.npz"))
    np.savez(tmp_path / "rows.npz", x=ROWS + 1)
    with pytest.raises(lv.DataError, match="as they were trained on, got other values"):
        encode(lv.load(tmp_path / "run"))
    codes, _ = encode(solution, str(tmp_path / "rows.npz"))  # named, they are meant
    assert len(codes) == 200


@pytest.mark.parametrize("held_out", [0.0, 0.2])
def test_arrays_in_memory_have_their_order_too(held_out: float) -> None:
    solution = run(None, "min neg_elbo", ROWS, held_out=held_out)
    assert encode(solution)[0] == pytest.approx(encode(solution, ROWS)[0], abs=1e-6)


def test_bytes_are_prepared_as_in_training() -> None:
    digits = lv.open_data("digits").test.values
    assert isinstance(digits, torch.Tensor)
    model = run(None, "min neg_elbo", likelihood="gaussian").model
    assert torch.allclose(model.encode(digits), model.encode(digits / 255), atol=0.05)
    drawn = run(None, "min neg_elbo").model.encode(digits)
    assert drawn.abs().max() < 10  # of bytes taken for intensities it would be hundreds
