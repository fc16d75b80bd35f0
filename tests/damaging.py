"""Ways to damage a file's bytes, drawn at random from a seed."""

from __future__ import annotations

import random

KINDS = ("flip a bit", "flip bytes", "cut the end", "cut out", "zero", "repeat", "swap", "insert")


def damage(content: bytes, chance: random.Random) -> bytes:
    """Returns the bytes with a range of them flipped, cut or moved; never what they were."""
    while True:
        damaged = _damage(content, chance)
        if damaged != content:
            return damaged


def _damage(content: bytes, chance: random.Random) -> bytes:
    kind = chance.choice(KINDS)
    size = len(content)
    start = chance.randrange(size)
    length = min(size - start, 1 + int(chance.expovariate(1 / 20)))
    end = start + length
    before, hurt, after = content[:start], content[start:end], content[end:]
    if kind == "flip a bit":
        return before + bytes([content[start] ^ (1 << chance.randrange(8))]) + content[start + 1 :]
    if kind == "flip bytes":
        return before + bytes(byte ^ chance.randrange(256) for byte in hurt) + after
    if kind == "cut the end":
        return before
    if kind == "cut out":
        return before + after
    if kind == "zero":
        return before + bytes(length) + after
    if kind == "repeat":
        return before + hurt + hurt + after
    if kind == "swap":
        return after + hurt + before
    return before + chance.randbytes(length) + hurt + after
