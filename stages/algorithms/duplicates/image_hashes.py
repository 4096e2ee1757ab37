"""64-bit hashes of small grey images, and pairs of images whose hashes differ in few bits.

A bit is the sign of one of the 63 lowest frequencies of the discrete cosine transform, as in pHash
(Zauner, "Implementation and benchmarking of perceptual image hash functions", 2010), which compares
with the median instead. Signs of a mirrored or turned image follow from those of the image itself:
frequencies change places, and odd ones change their sign.

Pairs are found by multi-index hashing (Norouzi et al., arXiv 1307.2982): of six pieces of a hash at
least two are equal if at most four bits differ. Hashes are sorted once for every two pieces.
"""

import itertools
from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Int64, UInt8, UInt64
from numpy import ndarray

from .registration import FLAT, SIDE, Images

DISTANCE = 4
"""Bits in which hashes of the same image may differ."""
QUARTERS = 4
"""Quarter turns."""
_FREQUENCIES = 8
_ODD_ACROSS = np.uint64(0xAAAAAAAAAAAAAAAA)
_ODD_DOWN = np.uint64(0xFF00FF00FF00FF00)
_PIECES = (11, 11, 11, 11, 10, 10)
"""Bits of each piece."""
_MOST = 32
"""Most hashes of equal pieces that each hash is compared with: those next in order. Many copies of
one image are thus linked in a chain instead of each with each."""
_AT_ONCE = 1 << 17
_IMAGES = 4096


def hash_images(images: Images) -> UInt64[ndarray, " n"]:
    """The hash of each image of `SIDE` x `SIDE`, row by row; 0 if an image is flat."""
    angles = (np.arange(SIDE) + 0.5) * np.arange(_FREQUENCIES)[:, None] * np.pi / SIDE
    waves = np.cos(angles).astype(np.float32)
    hashes = np.empty(len(images), np.uint64)
    for start in range(0, len(images), _IMAGES):
        block = np.asarray(images[start : start + _IMAGES], np.float32)
        signs = (waves @ block.reshape(-1, SIDE, SIDE) @ waves.T).reshape(len(block), -1) > 0
        signs[:, 0] = False  # the mean says nothing
        signs[block.std(1) < FLAT] = False
        packed = np.packbits(signs, axis=1, bitorder="little")
        hashes[start : start + _IMAGES] = packed.view("<u8").ravel()
    return hashes


def turned(hashes: UInt64[ndarray, " n"], quarters: int) -> UInt64[ndarray, " n"]:
    """Hashes of the images after quarter turns against the clock, as `numpy.rot90` turns them."""
    for _ in range(quarters):
        hashes = _transposed(hashes) ^ _ODD_DOWN
    return hashes


def distances(
    first: UInt64[ndarray, "..."], second: UInt64[ndarray, "..."]
) -> UInt8[ndarray, "..."]:
    """The number of bits in which hashes differ, or that of a mirrored image if it is smaller."""
    bits = first ^ second
    return np.minimum(np.bitwise_count(bits), np.bitwise_count(bits ^ _ODD_ACROSS))


def near_hashes(hashes: UInt64[ndarray, " n"]) -> Int64[ndarray, "m 2"]:
    """Pairs of images whose hashes differ in at most `DISTANCE` bits, mirrored or turned or not.

    Each pair once, the smaller number first. If many have equal pieces, pairs are left out, but
    a chain of pairs links them. Flat images are in no pair. Takes some sorts of n hashes.
    """
    rows = (hashes != 0).nonzero()[0]
    values, n = hashes[rows], len(rows)
    versions = [turned(values, quarters) for quarters in range(QUARTERS)]
    versions += [version ^ _ODD_ACROSS for version in versions]
    del versions[QUARTERS - 1]  # the last quarter turn is the first, seen from the other image
    versions = [_in_pieces(version) for version in versions]
    codes = np.empty(0, np.int64)
    for high in itertools.combinations(range(len(_PIECES)), 2):
        arranged = _arranged(versions[0], high)
        order = np.argsort(arranged, kind="stable")
        ordered = arranged[order]
        shift = np.uint64(64 - _PIECES[high[0]] - _PIECES[high[1]])
        for version in versions:
            pairs = _equal_pieces(ordered, _arranged(version, high), shift)
            codes = np.union1d(codes, _numbered(order, pairs, n))
    first, second = np.divmod(codes, max(1, n))
    return np.stack([rows[first], rows[second]], 1).astype(np.int64)


def _numbered(
    order: ndarray, pairs: Iterator[tuple[ndarray, ndarray]], n: int
) -> Int64[ndarray, " m"]:
    """Each pair of different rows, coded as one number."""
    numbers = [np.empty(0, np.int64)]
    for query, place in pairs:
        other = order[place]
        low, high = np.minimum(query, other), np.maximum(query, other)
        numbers.append(np.unique((low * n + high)[low != high]))
    return np.concatenate(numbers)


def _equal_pieces(
    ordered: ndarray, queries: ndarray, shift: np.uint64
) -> Iterator[tuple[ndarray, ndarray]]:
    """Queries and places in the sorted hashes that are equal above `shift` and near each other."""
    by_value = np.argsort(queries, kind="stable")
    below = (np.uint64(1) << shift) - np.uint64(1)
    for start in range(0, len(queries), _AT_ONCE):
        rows = by_value[start : start + _AT_ONCE]
        values = queries[rows]
        first = np.searchsorted(ordered, values & ~below)
        last = np.searchsorted(ordered, values | below, side="right")
        crowded = (last - first > _MOST).nonzero()[0]
        if len(crowded):
            middle = np.searchsorted(ordered, values[crowded]) - _MOST // 2
            first[crowded] = np.clip(middle, first[crowded], last[crowded] - _MOST)
            last[crowded] = first[crowded] + _MOST
        counts = last - first
        query = np.repeat(np.arange(len(rows)), counts)
        place = np.arange(len(query)) - np.repeat(np.cumsum(counts) - counts - first, counts)
        is_near: Bool[ndarray, " m"] = np.bitwise_count(values[query] ^ ordered[place]) <= DISTANCE
        yield rows[query[is_near]], place[is_near]


def _in_pieces(hashes: ndarray) -> ndarray:
    """Hashes with their bits in another order: each piece has bits of low and high frequencies."""
    mixed = np.zeros_like(hashes)
    for piece, bits in enumerate(_PIECES):
        for bit in range(bits):
            place = np.uint64(bit * len(_PIECES) + piece)
            mixed = (mixed << np.uint64(1)) | ((hashes >> place) & np.uint64(1))
    return mixed


def _arranged(mixed: ndarray, high: tuple[int, ...]) -> ndarray:
    """Hashes with some of their pieces first."""
    arranged = np.zeros_like(mixed)
    for piece in [*high, *(piece for piece in range(len(_PIECES)) if piece not in high)]:
        width, below = np.uint64(_PIECES[piece]), np.uint64(sum(_PIECES[piece + 1 :]))
        bits = (mixed >> below) & ((np.uint64(1) << width) - np.uint64(1))
        arranged = (arranged << width) | bits
    return arranged


def _transposed(hashes: ndarray) -> ndarray:
    """Frequencies across and down change places: the transpose of 8 x 8 bits."""
    for shift, mask in ((7, 0x00AA00AA00AA00AA), (14, 0x0000CCCC0000CCCC), (28, 0xF0F0F0F0)):
        moved = (hashes ^ (hashes >> np.uint64(shift))) & np.uint64(mask)
        hashes = hashes ^ moved ^ (moved << np.uint64(shift))
    return hashes
