"""All rows of an artifact in one array, equal to what Arrow decodes."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from cpp_pipe.stages.rows.artifact_rows import EMBEDDING, blocks_of, gather
from cpp_pipe.stages.rows.sampled_rows import gather_rows
from cpp_pipe.store import StoreError
from cpp_pipe.store.pages import find_pages

from .random_parts import make_embeddings, make_features


def decoded(artifact):
    """The rows as Arrow decodes them, one part after the other."""
    return np.concatenate([artifact.embeddings(part.name) for part in artifact.parts])


@pytest.mark.parametrize("sizes", [(5, 1, 7), (0, 3), (3, 0, 2), (1,)])
def test_gather_concatenates_all_parts(tmp_path, sizes):
    artifact, x = make_embeddings(tmp_path, sizes)
    gathered = gather(artifact)
    assert gathered.dtype == np.float16
    assert gathered.flags.c_contiguous and gathered.flags.writeable
    assert (gathered == x).all() and (gathered == decoded(artifact)).all()
    assert (gather_rows(artifact, EMBEDDING, range(len(x))) == gathered).all()


def test_the_width_is_kept_without_rows(tmp_path):
    assert gather(make_embeddings(tmp_path / "a", (0, 0))[0]).shape == (0, 8)


@pytest.mark.parametrize(
    "rewrite",
    [
        {"use_dictionary": False, "compression": "none", "data_page_size": 64},
        {"use_dictionary": False, "compression": "none", "data_page_size": 64, "row_group_size": 7},
        {"use_dictionary": False, "compression": "none", "write_page_index": True},
        {"use_dictionary": False, "compression": "none", "write_page_checksum": True},
        {"use_dictionary": False, "compression": "none", "data_page_version": "2.0"},
        {"use_dictionary": True, "compression": "none"},
        {"use_dictionary": False, "compression": "zstd", "row_group_size": 9},
    ],
)
def test_gather_agrees_with_arrow_however_the_file_was_written(tmp_path, rewrite):
    rewrite = {"write_batch_size": 5, **rewrite}  # else no page ends before 1024 numbers
    artifact, x = make_embeddings(tmp_path, (40, 1, 33), width=6, rewrite=rewrite)
    assert (decoded(artifact) == x).all()
    assert (gather(artifact) == x).all()


def test_tables_written_by_stages_are_read_without_decoding(tmp_path):
    artifact, x = make_embeddings(tmp_path, (3000,), width=512)
    path = artifact.path("part-0", "rows")
    with pq.ParquetFile(path) as file:
        pages = find_pages(path, file.metadata.row_group(0), 512)
    assert pages is not None and len(pages) > 1
    assert sum(page.numbers for page in pages) == x.size
    content = path.read_bytes()
    values = b"".join(content[page.offset :][: 2 * page.numbers] for page in pages)
    assert values == x.tobytes()


def test_threads_do_not_change_the_order(tmp_path):
    artifact, x = make_embeddings(tmp_path, (900, 1, 700, 50), width=4)
    for threads in (1, 2, 16):
        assert (gather(artifact, threads=threads) == x).all()


@pytest.mark.parametrize("most_rows", [1, 4, 1000])
def test_blocks_cover_all_rows_in_order_within_their_limit(tmp_path, most_rows):
    small_pages = {
        "use_dictionary": False,
        "compression": "none",
        "data_page_size": 64,
        "write_batch_size": 5,
        "row_group_size": 7,
    }
    artifact, x = make_embeddings(tmp_path, (30, 0, 1, 6), rewrite=small_pages)
    width, blocks = blocks_of(artifact, most_rows=most_rows)
    assert width == 8 and max(block.rows for block in blocks) <= most_rows
    row = 0
    for block in blocks:
        assert block.start == row
        out = np.empty((block.rows, width), np.float16)
        block.read(out)
        assert (out == x[row : row + block.rows]).all()
        row += block.rows
    assert row == len(x)


def test_gather_reads_an_array_of_features(tmp_path):
    parts = [np.arange(2 * n, dtype=np.float16).reshape(n, 2) for n in (3, 0, 1, 4)]
    artifact = make_features(tmp_path, parts)
    assert (gather(artifact, "z") == np.concatenate(parts)).all()


def test_parts_of_different_widths_are_refused(tmp_path):
    artifact = make_features(tmp_path, [np.ones((3, 2), np.float16), np.ones((3, 1), np.float16)])
    with pytest.raises(
        StoreError, match=r"part-1\.z\.npy has 1 number in each row, its manifest says 2"
    ):
        gather(artifact, "z")


def test_a_truncated_part_raises(tmp_path):
    artifact, _ = make_embeddings(tmp_path, (5, 50))
    _, blocks = blocks_of(artifact)
    path = artifact.path("part-1", "rows")
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(StoreError, match=r"part-1\.parquet ends before its rows do"):
        blocks[-1].read(np.empty((50, 8), np.float16))


def test_a_part_that_is_not_parquet_raises(tmp_path):
    artifact, _ = make_embeddings(tmp_path, (5, 5))
    artifact.path("part-1", "rows").write_bytes(b"PAR1 and no more")
    with pytest.raises(StoreError, match="has 16 bytes instead of"):
        gather(artifact)
