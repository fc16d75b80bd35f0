"""What does an IDX file say?

It is the format of MNIST: a magic number, the sizes as big-endian 32-bit words, then the bytes.
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from lagvae.errors import DataError, expected

IMAGES_MAGIC = 0x803
LABELS_MAGIC = 0x801
_DIMENSIONS = {IMAGES_MAGIC: 3, LABELS_MAGIC: 1}
_GZIP_MAGIC = b"\x1f\x8b"


def read_raw(path: Path) -> bytes:
    """Returns the raw bytes of a file, decompressed if it is gzipped (whatever its name says).

    Raises:
        DataError: if the file cannot be read or decompressed.
    """
    try:
        packed = path.read_bytes()
    except OSError as error:
        raise DataError(
            expected(f"a readable file {path}", got=error.strerror or error, fix="mending its permissions")
        ) from error
    return decompress(packed, where=str(path))


def decompress(packed: bytes, *, where: str) -> bytes:
    """Returns ``packed`` without gzip, or as it is; ``where`` names it in the message if it is damaged."""
    if not packed.startswith(_GZIP_MAGIC):
        return packed
    try:
        return gzip.decompress(packed)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(expected(f"whole gzip data in {where}", got=error, fix="deleting it and fetching again")) from (
            error
        )


def parse_images(raw: bytes, *, where: str) -> np.ndarray:
    """Returns the images uint8 ``[N, H, W]`` that IDX bytes hold; ``where`` names the bytes in messages."""
    return _parse(raw, IMAGES_MAGIC, where)


def parse_labels(raw: bytes, *, where: str) -> np.ndarray:
    """Returns the labels uint8 ``[N]`` that IDX bytes hold; ``where`` names the bytes in messages."""
    return _parse(raw, LABELS_MAGIC, where)


def _parse(raw: bytes, magic: int, where: str) -> np.ndarray:
    """Returns the array, once the magic number is ``magic`` and the declared sizes are those of the bytes."""
    header = 4 * (1 + _DIMENSIONS[magic])
    words = [int(word) for word in np.frombuffer(raw[:header].ljust(header, b"\0"), dtype=">u4")]
    if words[0] != magic:
        raise DataError(
            expected(
                f"IDX magic number {magic:#x} in {where}",
                got=f"{words[0]:#x}",
                fix="the file of that name from the original set (images and labels are separate files)",
            )
        )
    shape = words[1:]
    declared = header + math.prod(shape)
    if len(raw) != declared:
        raise DataError(
            expected(
                f"{declared} bytes in {where}, whose header declares {' x '.join(map(str, shape))}",
                got=f"{len(raw)} bytes",
                fix="deleting it and fetching again",
            )
        )
    return np.frombuffer(raw, dtype=np.uint8, offset=header).reshape(shape)
