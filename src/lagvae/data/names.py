"""What are columns and classes called, so that they are the same ones in another file?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lagvae.errors import CheckpointError, expected


@dataclass(frozen=True)
class Names:
    """What the columns of a table, and the classes of its labels, are called.

    Attributes:
        columns: In the order of the values; () where nothing names each of them once.
        classes: In the order of the labels' numbers; () where labels are numbers themselves, or there are none.
    """

    columns: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, tuple[str, ...]]:
        """Returns the fields by name, as a configuration holds them."""
        return vars(self).copy()

    @staticmethod
    def of(config: Mapping[str, Any]) -> Names:
        """Returns what a run's configuration says of them; nothing where it has none.

        Raises:
            CheckpointError: It holds something else than lists.
        """
        given = {name: config.get(name, []) for name in vars(NAMELESS)}
        for name, value in given.items():
            if not isinstance(value, list):
                got = type(value).__name__
                raise CheckpointError(expected(f"a list as {name} in names.json", got=got, fix="putting it back"))
        return Names(**{name: tuple(map(str, value)) for name, value in given.items()})


NAMELESS = Names()


def usable_names(names: Iterable[object]) -> tuple[str, ...]:
    """Returns names as they are where each is one column's alone, else ()."""
    texts = tuple(map(str, names))
    return texts if len(set(texts)) == len(texts) and all(texts) else ()
