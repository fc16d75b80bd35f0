from __future__ import annotations

import pytest

from lagvae.data.named.registry import IDX_SETS, find_idx_set, is_named
from lagvae.errors import DataError


def test_names_are_known() -> None:
    assert all(is_named(name) for name in ("mnist", "fashion-mnist", "digits"))
    assert not is_named("imagenet")
    assert all(find_idx_set(name).name == name for name in IDX_SETS)


@pytest.mark.parametrize("name", IDX_SETS)
def test_every_set_has_four_hashes_and_the_papers_split(name: str) -> None:
    wanted = find_idx_set(name)
    assert len(wanted.sha256) == len(set(wanted.sha256.values())) == 4
    assert all(len(bytes.fromhex(digest)) == 32 for digest in wanted.sha256.values())
    assert wanted.train_count == 55_000
    assert all(mirror.endswith("/") for mirror in wanted.mirrors)


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [("minst", "try 'mnist'"), ("fashion_mnist", "try 'fashion-mnist'"), ("MNIST", "try 'mnist'"), ("qqq", "one of")],
)
def test_unknown_names_get_a_suggestion(name: str, suggestion: str) -> None:
    with pytest.raises(DataError, match=suggestion):
        find_idx_set(name)
