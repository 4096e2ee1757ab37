"""The inverted lists of one part, and of all parts merged into one FAISS file.

A part keeps its rows' codes in the order of lists. The merged file has FAISS's own format for an
inverted file, so that `faiss.read_index` opens it, memory-mapped or not: the trained index, then
`ilar` with the size of every list, then each list's codes and row numbers.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from ...store import StoreError
from .faiss_library import import_faiss

BLOCK_BYTES = 1 << 26
"""Bytes of lists merged at a time (at least one list): 64 MiB, of which four copies are held."""

_NO_LISTS = b"il00"
"""The last bytes that FAISS writes for an inverted file without lists."""

_ID_BYTES = 8


class PartLists(NamedTuple):
    """The lists of one part; all three arrays are sorted by list, then by row."""

    codes: np.ndarray
    """uint8 (n, code size)."""
    rows: np.ndarray
    """int32 (n,), row numbers within the part."""
    lists: np.ndarray
    """int32 (n,), ascending."""
    start: int
    """The number of the part's first row over all parts."""


def trained_bytes(index: Any) -> bytes:
    """A FAISS index without rows, serialised by FAISS."""
    return import_faiss().serialize_index(index).tobytes()


def read_trained(trained: bytes) -> Any:
    """The index that `trained_bytes` wrote."""
    return import_faiss().deserialize_index(np.frombuffer(trained, np.uint8))


def write_merged(
    path: Path,
    trained: bytes,
    parts: Sequence[PartLists],
    after_block: Callable[[], object] = lambda: None,
) -> None:
    """Writes the lists of all parts as one FAISS file; `trained` is their quantizer's index.

    Holds a block of lists at a time, and reads each part's codes in one pass. `after_block` is
    called when a block is written.
    """
    index = read_trained(trained)
    sizes = np.zeros(index.nlist, np.int64)
    for part in parts:
        sizes += np.bincount(part.lists, minlength=index.nlist)
    index.ntotal, code_size = int(sizes.sum()), int(index.code_size)
    index.replace_invlists(None)
    with path.open("wb") as file:
        _write_head(file, trained_bytes(index), code_size, sizes)
        for lists in _merged(parts, sizes, code_size):
            file.write(lists.data)
            after_block()


def _write_head(file: BinaryIO, without_lists: bytes, code_size: int, sizes: np.ndarray) -> None:
    if not without_lists.endswith(_NO_LISTS):
        raise StoreError(
            "this version of FAISS writes inverted files in an unknown format: install a version "
            "from 1.10 to 1.15"
        )
    file.write(without_lists[: -len(_NO_LISTS)])
    file.write(b"ilar" + np.array([len(sizes), code_size], "<u8").tobytes())
    file.write(b"full" + np.array([len(sizes)], "<u8").tobytes() + sizes.astype("<u8").tobytes())


def _merged(parts: Sequence[PartLists], sizes: np.ndarray, code_size: int) -> Iterator[np.ndarray]:
    """Blocks of consecutive lists as bytes: for each list its codes, then its row numbers."""
    edges = _edges(sizes * (code_size + _ID_BYTES))
    cuts = [np.searchsorted(part.lists, edges) for part in parts]
    for number in range(len(edges) - 1):
        pieces = [
            (part, slice(cut[number], cut[number + 1]))
            for part, cut in zip(parts, cuts, strict=True)
            if cut[number] < cut[number + 1]
        ]
        if pieces:
            yield _interleaved(pieces, code_size)


def _interleaved(pieces: list[tuple[PartLists, slice]], code_size: int) -> np.ndarray:
    lists = np.concatenate([part.lists[span] for part, span in pieces])
    # Stable: within a list, rows keep the order of parts, and their order within a part.
    order = np.argsort(lists, kind="stable")
    codes = np.concatenate([part.codes[span] for part, span in pieces])[order]
    ids = np.concatenate([part.rows[span].astype("<i8") + part.start for part, span in pieces])
    ids = ids[order].view(np.uint8).reshape(-1, _ID_BYTES)
    ends = np.flatnonzero(np.diff(lists[order], append=-1)) + 1
    out = np.empty(len(ids) * (code_size + _ID_BYTES), np.uint8)
    at = first = 0
    for last in ends.tolist():
        for array in (codes, ids):
            flat = array[first:last].reshape(-1)
            out[at : at + flat.size] = flat
            at += flat.size
        first = last
    return out


def _edges(list_bytes: np.ndarray) -> np.ndarray:
    """The first list of each block, and the number of lists at the end."""
    edges, held_bytes = [0], 0
    for number, size in enumerate(list_bytes.tolist()):
        if held_bytes and held_bytes + size > BLOCK_BYTES:
            edges.append(number)
            held_bytes = 0
        held_bytes += size
    return np.array([*edges, len(list_bytes)])
