"""A file that is larger than memory is read in bounded memory, and sent to other processes by its name."""

from __future__ import annotations

import pickle
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import lagvae as lv
from data.sparse import save_sparse
from lagvae.data import blocks as blocks_module
from lagvae.data import mapped
from lagvae.data.arrays import build_examples
from lagvae.data.blocks import blocks
from lagvae.data.examples import Examples
from lagvae.data.moments import extent, moments
from lagvae.settings import Settings
from lagvae.training.build import build_session, settle_likelihood

X = np.arange(4000, dtype=np.float32).reshape(500, 2, 4)

needs_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads resident memory from /proc")


@pytest.fixture
def stored(tmp_path: Path) -> Examples:
    np.save(tmp_path / "x.npy", X)
    return Examples(mapped.open_map(np.load(tmp_path / "x.npy", mmap_mode="r")))


def resident() -> int:
    """Memory of this process, pages of mapped files among it, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmRSS"))


def test_rows_and_slices_are_the_arrays_own_and_copies(stored: Examples) -> None:
    assert not stored.values.flags.writeable
    index = torch.tensor([499, 0, 7, 7])
    assert np.array_equal(stored.gather(index).numpy(), X[index.numpy()])
    read = mapped.read_slice(stored.values, 3, 9)
    assert np.array_equal(read, X[3:9])
    assert read.flags.owndata


def test_what_was_read_is_let_go_of(stored: Examples, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[str] = []
    monkeypatch.setattr(mapped, "_advise", lambda values, advice: given.append(advice))
    monkeypatch.setattr(mapped, "RELEASED_EVERY", 3 * 32 * 4)
    for _ in range(6):
        mapped.read_slice(stored.values, 0, 4)
    assert given.count("MADV_DONTNEED") == 2


@pytest.mark.parametrize("cut", [slice(None), slice(0, 7), slice(311, 500), slice(499, 500)])
def test_a_memory_map_is_sent_by_its_place(stored: Examples, cut: slice, tmp_path: Path) -> None:
    part = stored.subset(*cut.indices(500)[:2])
    sent = pickle.dumps(part)
    assert len(sent) < 1000
    received = pickle.loads(sent)
    assert isinstance(received.values, np.memmap)
    assert not received.values.flags.writeable
    assert np.array_equal(received.values, X[cut])
    assert np.array_equal(pickle.loads(pickle.dumps(received)).values, X[cut])


def test_a_map_that_begins_anywhere_in_its_file_is_found_again(tmp_path: Path) -> None:
    raw = np.random.default_rng(0).integers(0, 256, 3 * 4096 + 77, dtype=np.uint8)
    raw.tofile(tmp_path / "raw")
    for offset in (0, 5, 4096, 4096 + 9, 8192):
        values = np.memmap(tmp_path / "raw", np.uint8, "r", offset, (300, 7))[11:]
        place = mapped.Place.of(values)
        assert place.offset == offset + 77
        assert np.array_equal(place.open(), values)


def test_labels_rows_and_tensors_are_sent_as_they_are(stored: Examples) -> None:
    part = Examples(stored.values, torch.arange(500)).pick(torch.tensor([4, 2]))
    received = pickle.loads(pickle.dumps(part))
    assert received.labels.tolist() == received.rows.tolist() == [4, 2]
    tensor = pickle.loads(pickle.dumps(Examples(torch.ones(2, 3))))
    assert torch.equal(tensor.values, torch.ones(2, 3))


def test_columns_cannot_be_sent_by_their_place(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.asfortranarray(X))
    values = np.load(tmp_path / "x.npy", mmap_mode="r")
    with pytest.raises(lv.DataError, match=r"examples one after the other in .*x\.npy, got columns; try np\.save"):
        pickle.dumps(Examples(values))


def test_of_a_large_map_evenly_spread_blocks_are_looked_at(stored: Examples, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks_module, "BLOCK_VALUES", 8 * 5)
    monkeypatch.setattr(blocks_module, "MOST_BLOCKS", 4)
    assert [start for start, _ in blocks(stored)] == [0, 165, 330, 495]
    assert [len(block) for _, block in blocks(stored)] == [5] * 4
    in_memory = Examples(torch.from_numpy(X))
    assert len(list(blocks(in_memory))) == 100  # all of it
    assert [start for start, _ in blocks(stored.pick(torch.arange(0, 500, 2)))] == [0, 80, 165, 245]
    assert (extent(stored).low, extent(stored).high) == (0.0, X.max())
    sampled, exact = (moments(part, per_column=False) for part in (stored, in_memory))
    assert float(sampled[0]) == pytest.approx(float(exact[0]), rel=1e-5)  # as many from below as from above


@needs_proc
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_twenty_gigabytes_stream_in_bounded_memory(
    dtype: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opened, fingerprinted, given a likelihood, checked, split and trained on: megabytes, and seconds."""
    monkeypatch.setattr(blocks_module, "MOST_BLOCKS", 8)  # for time
    rows, width = 20 * 2**30 // (2**15 * np.dtype(dtype).itemsize), 2**15
    path = save_sparse(tmp_path / "x.npy", (rows, width), dtype)
    before, began = resident(), time.monotonic()
    data = lv.open_data(path)
    assert data.fingerprint() == lv.open_data(path).fingerprint()
    data = data.hold_out(0.1, seed=0)
    settings, choice = settle_likelihood(Settings().replace(hidden=(4,), latent_dim=2, batch_size=64), data)
    assert choice is not None
    assert choice.name == "bernoulli"
    session = build_session(lv.vae(), data, settings)
    peak = 0
    for step in range(24):
        session.take_step()
        peak = max(peak, resident()) if step % 4 == 0 else peak
    assert data.train.values.nbytes == 18 * 2**30
    assert peak - before < 400
    assert time.monotonic() - began < 120  # the fingerprint alone took a minute before pages were asked for singly


@pytest.mark.parametrize("change", [np.copy, lambda m: m.astype(np.float32), lambda m: m * 1.0])
def test_what_is_computed_from_a_map_is_an_array(tmp_path: Path, change: Any) -> None:
    np.save(tmp_path / "x.npy", np.arange(12, dtype=np.float32).reshape(4, 3))
    made = change(np.load(tmp_path / "x.npy", mmap_mode="r"))
    examples = build_examples(made)
    assert isinstance(examples.values, torch.Tensor)
    assert examples.values.tolist() == np.asarray(made).tolist()
