"""Large test data of which no two blocks are the same, and its digest."""

import hashlib
import os

BLOCK_BYTES = 1 << 20
NOISE = os.urandom(BLOCK_BYTES - 8)


def blocks(mib):
    for number in range(mib):
        yield number.to_bytes(8, "big") + NOISE


def digest(pieces):
    """Length and hash."""
    count, sum = 0, hashlib.blake2b()
    for piece in pieces:
        count += len(piece)
        sum.update(piece)
    return count, sum.hexdigest()


def read_all(file, count=None):
    """Reads a file in blocks, at most `count` bytes."""
    while count is None or count > 0:
        piece = file.read(BLOCK_BYTES if count is None else min(count, BLOCK_BYTES))
        if not piece:
            return
        if count is not None:
            count -= len(piece)
        yield piece
