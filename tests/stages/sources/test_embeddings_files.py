"""Embeddings made elsewhere: every layout, unit rows, and no row lost silently."""

import io
import json
import os
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from cpp_pipe.stages.sources.embeddings import columns, files
from cpp_pipe.stages.sources.embeddings.columns import FIELD_NAMES, to_rows, unit_rows
from cpp_pipe.stages.sources.embeddings.files import EmbeddingsFile, find_embeddings
from cpp_pipe.store.errors import ShardError
from cpp_pipe.store.kinds import EMBEDDINGS

from ...strategies import byte_edits, overwrite_bytes

X = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
UNIT = X / np.linalg.norm(X, axis=1, keepdims=True)


def only(path: Path, **options: Any) -> EmbeddingsFile:
    (part,) = find_embeddings(path, **options)
    return part


def save(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)  # pyright: ignore[reportArgumentType]
    return path


def test_real_embeddings_are_imported_with_keys_labels_and_names(shared: Path):
    path = shared / "data" / "clip_vitb32" / "caltech101.npz"
    part = only(path)
    rows = part.load()
    with np.load(path) as arrays:
        x, y, names = arrays["x"].astype(np.float32), arrays["y"], arrays["class_name"]
    assert (part.rows, part.size) == (4114, 512)
    assert not rows.faults
    assert rows.columns["key"][0] == "joshua_tree_0037"
    assert rows.columns["label"] == [str(label) for label in y]
    assert json.loads(rows.columns["extra"][0]) == {
        "split": "val",
        "rel_file": "joshua_tree/image_0037.jpg",
        "class_name": names[y[0]],
    }
    embedding = rows.columns["embedding"].astype(np.float32)
    assert abs(np.linalg.norm(embedding, axis=1) - 1).max() < 1e-3  # float16
    # The stored rows had lengths close to one already, so they hardly change.
    assert abs(embedding - x).max() < 1e-3


def test_the_columns_are_those_of_the_kind(tmp_path: Path):
    rows = only(save(tmp_path / "a.npz", x=X)).load()
    declared = {column.name for column in EMBEDDINGS.table().columns}
    assert set(rows.columns) | {"shard", "offset", "size"} == declared
    assert set(FIELD_NAMES) < set(rows.columns)


@pytest.mark.parametrize("name", ["x", "embeddings", "embedding", "Image_Embeddings", "features"])
@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f4"])
def test_vectors_are_found_by_name_and_normalised(tmp_path: Path, name: str, dtype: str):
    rows = only(save(tmp_path / "a.npz", **{name: (X * 3).astype(dtype)})).load()
    embedding = rows.columns["embedding"]
    assert embedding.dtype == np.float16
    assert np.allclose(embedding, UNIT, atol=2e-3)
    assert rows.columns["key"] == [str(i) for i in range(6)]
    assert rows.columns["label"] == rows.columns["caption"] == [None] * 6
    assert rows.columns["extra"] == ["{}"] * 6


def test_missing_keys_become_row_numbers_of_one_width(tmp_path: Path):
    np.save(tmp_path / "a.npy", np.ones((1001, 2), np.float32))
    rows = only(tmp_path / "a.npy").load()
    assert rows.columns["key"][0] == "0000"
    assert rows.columns["key"][-1] == "1000"
    assert sorted(rows.columns["key"]) == rows.columns["key"]


def test_text_labels_captions_and_other_columns_are_kept(tmp_path: Path):
    path = save(
        tmp_path / "a.npz",
        embeddings=X,
        Labels=np.array(["cat", "dog"] * 3),
        caption=np.array([b"a", b"", b"c", b"d", b"e", b"\xff"]),
        width=np.array([1, 2, 3, 4, 5, np.nan]),
        score=np.array([0.5, np.nan, np.inf, 1, 2, 3]),
        when=np.array(["2024-01-01"] * 6, "datetime64[D]"),
        mean=np.zeros(4),
        patches=np.zeros((6, 2, 2)),
    )
    part = only(path)
    rows = part.load().columns
    assert rows["label"] == ["cat", "dog"] * 3
    assert rows["caption"] == ["a", None, "c", "d", "e", "\ufffd"]
    assert rows["width"] == [1, 2, 3, 4, 5, None]
    assert json.loads(rows["extra"][0]) == {"score": 0.5, "when": "2024-01-01"}
    assert [json.loads(text)["score"] for text in rows["extra"]] == [0.5, None, None, 1, 2, 3]


def test_rows_without_a_direction_are_faults_and_the_others_stay_aligned(tmp_path: Path):
    x = X.copy()
    x[1, 2] = np.nan
    x[3] = 0
    x[4, 0] = -np.inf
    x[4, 1] = np.inf
    rows = only(save(tmp_path / "a.npz", x=x, key=np.array(list("abcdef")), y=np.arange(6))).load()
    assert rows.columns["key"] == ["a", "c", "f"]
    assert rows.columns["label"] == ["0", "2", "5"]
    assert np.allclose(rows.columns["embedding"], UNIT[[0, 2, 5]], atol=1e-3)
    assert [(fault.key, fault.reason, fault.offset) for fault in rows.faults] == [
        ("b", "not_finite", None),
        ("d", "zero_norm", None),
        ("e", "not_finite", None),
    ]
    assert rows.faults[2].detail == "2 of 4 values are not finite"


def test_the_second_row_under_a_key_is_a_fault(tmp_path: Path):
    rows = only(save(tmp_path / "a.npz", x=X, keys=np.array([7, 8, 7, 9, 10, 8]))).load()
    assert rows.columns["key"] == ["7", "8", "9", "10"]
    assert [(fault.key, fault.reason) for fault in rows.faults] == [
        ("7", "duplicate_key"),
        ("8", "duplicate_key"),
    ]


@given(
    npst.arrays(
        st.sampled_from([np.float16, np.float32, np.float64]),
        st.tuples(st.integers(0, 5), st.integers(1, 5)),
        elements=st.floats(width=16) | st.sampled_from([6e4, -6e4, 1e-7, 0.0]),
    ),
    st.sampled_from([1.0, 1e300, 1e-300, 1e38, 1e-40]),
)
def test_every_row_has_unit_length_or_a_fault(vectors: np.ndarray, scale: float):
    with np.errstate(all="ignore"):
        vectors = (vectors.astype(np.float64) * scale).astype(vectors.dtype)
    units, faulty = unit_rows(vectors)
    for row, vector in enumerate(vectors):
        if not np.isfinite(vector).all():
            assert faulty[row][0] == "not_finite"
        elif not vector.any():
            assert faulty[row][0] == "zero_norm"
        else:
            assert row not in faulty
            wide = vector.astype(np.longdouble)
            wide /= abs(wide).max()
            assert np.allclose(units[row], wide / np.sqrt((wide**2).sum()), atol=1e-3)


@given(st.permutations(range(6)))
def test_rows_do_not_depend_on_their_neighbours(order: list[int]):
    fields = {"key": [str(i) for i in order], "n": list(order)}
    rows = to_rows(X[order], fields).columns
    for index, row in enumerate(order):
        assert rows["key"][index] == str(row)
        assert json.loads(rows["extra"][index]) == {"n": row}
        assert (rows["embedding"][index] == unit_rows(X)[0][row]).all()


@pytest.mark.parametrize("suffix", [".npy", ".txt"])
def test_an_npy_takes_keys_and_labels_from_other_files(tmp_path: Path, suffix: str):
    np.save(tmp_path / "x.npy", X)
    keys, labels = tmp_path / f"keys{suffix}", tmp_path / f"labels{suffix}"
    if suffix == ".npy":
        np.save(keys, np.array(list("abcdef")))
        np.save(labels, np.arange(6))
    else:
        keys.write_text("a\nb\nc\nd\ne\nf\n")
        labels.write_text("0\n1\n2\n3\n4\n5")
    part = only(tmp_path / "x.npy", keys=keys, labels=labels)
    rows = part.load().columns
    assert rows["key"] == list("abcdef")
    assert rows["label"] == list("012345")
    assert part.identity != only(tmp_path / "x.npy").identity
    before = part.part_name
    keys.write_bytes(keys.read_bytes().replace(b"f", b"g"))
    assert part.part_name != before


def test_a_line_of_text_may_hold_separators_that_end_no_line(tmp_path: Path):
    """They were taken for ends of lines, and the file for one of too many rows."""
    np.save(tmp_path / "x.npy", X)
    labels = ["a\u2028b", "c\x0bd", "g\x85h", "i", "e\x1cf", "j\u2029k"]
    for newline in ("\n", "\r\n", "\r"):
        text = "".join(f"{label}{newline}" for label in labels)
        (tmp_path / "labels.txt").write_text(text, encoding="utf-8-sig", newline="")
        read = only(tmp_path / "x.npy", labels=tmp_path / "labels.txt").load().columns["label"]
        assert read == labels


@pytest.fixture
def clip_retrieval(tmp_path: Path) -> Path:
    """A folder as clip-retrieval writes it, in two parts whose padding differs."""
    folder = tmp_path / "out"
    (folder / "img_emb").mkdir(parents=True)
    (folder / "metadata").mkdir()
    (folder / "text_emb").mkdir()
    for number, digits in ((0, 4), (10, 2)):
        np.save(folder / "img_emb" / f"img_emb_{number:0{digits}d}.npy", X.astype(np.float16))
        table = pa.table(
            {
                "image_path": [f"{number:05d}{i:04d}" for i in range(6)],
                "TEXT": ["words", None, "", "d", "e", "f"],
                "url": ["http://a"] * 6,
                "WIDTH": pa.array([256, None, 1, 2, 3, 4], pa.int32()),
                "height": [1] * 6,
                "NSFW": ["UNLIKELY"] * 6,
                "similarity": [0.3, float("nan"), 0.1, 0.2, 0.3, 0.4],
                "exif": pa.array([{"a": [1]}] * 6),
            }
        )
        pq.write_table(table, folder / "metadata" / f"metadata_{number:04d}.parquet")
    return folder


@pytest.mark.parametrize("below", ["", "img_emb"])
def test_a_folder_of_clip_retrieval_is_imported_with_its_metadata(clip_retrieval: Path, below: str):
    parts = find_embeddings(clip_retrieval / below)
    assert [part.path.name for part in parts] == ["img_emb_0000.npy", "img_emb_10.npy"]
    assert parts[0].part_name.startswith("img_emb_0000-")
    rows = parts[1].load().columns
    assert rows["key"] == [f"00010000{i}" for i in range(6)]
    assert rows["caption"] == ["words", None, None, "d", "e", "f"]
    assert rows["url"] == ["http://a"] * 6
    assert rows["width"] == [256, None, 1, 2, 3, 4]
    assert rows["height"] == [1] * 6
    expected = {"NSFW": "UNLIKELY", "similarity": None, "exif": {"a": [1]}}
    assert json.loads(rows["extra"][1]) == expected


def test_clip_retrieval_without_metadata_gets_row_numbers_as_keys(clip_retrieval: Path):
    for path in (clip_retrieval / "metadata").iterdir():
        path.unlink()
    assert find_embeddings(clip_retrieval)[0].load().columns["key"] == list("012345")


def test_different_row_counts_raise_an_error_that_names_both_files(clip_retrieval: Path):
    np.save(clip_retrieval / "img_emb" / "img_emb_10.npy", X[:5])
    with pytest.raises(ShardError, match=r"img_emb_10\.npy has 5 rows and .*_0010\.parquet has 6"):
        find_embeddings(clip_retrieval)


def test_a_missing_metadata_table_is_an_error(clip_retrieval: Path):
    (clip_retrieval / "metadata" / "metadata_0010.parquet").unlink()
    with pytest.raises(ShardError, match=r"img_emb_10\.npy has no table"):
        find_embeddings(clip_retrieval)


def test_a_damaged_metadata_table_is_an_error(clip_retrieval: Path):
    (clip_retrieval / "metadata" / "metadata_0010.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(ShardError, match=r"metadata_0010\.parquet cannot be read as Parquet"):
        find_embeddings(clip_retrieval)


def test_each_file_in_a_folder_is_a_part_in_natural_order(tmp_path: Path):
    for number in (10, 9, 1):
        np.save(tmp_path / f"part{number}.npy", X[:number])
    (tmp_path / "notes.txt").touch()
    assert [part.path.stem for part in find_embeddings(tmp_path)] == ["part1", "part9", "part10"]
    assert [part.rows for part in find_embeddings(tmp_path)] == [1, 6, 6]


def trap(path: Path) -> bytes:
    """Bytes that create a folder when they are unpickled: os.mkdir(path)."""
    return f"cos\nmkdir\n(V{path}\ntR.".encode()


def objects_npy(path: Path) -> bytes:
    """An .npy of six Python objects, as NumPy writes them, with a trap for their values."""
    file = io.BytesIO()
    header = {"descr": "|O", "fortran_order": False, "shape": (6,)}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + trap(path)


@pytest.mark.parametrize("name", ["x", "key"])
def test_python_objects_are_refused_and_never_unpickled(tmp_path: Path, name: str):
    sprung = tmp_path / "sprung"
    path = save(tmp_path / "a.npz", **({"x": X} if name == "key" else {}))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(f"{name}.npy", objects_npy(sprung))
    with pytest.raises(ShardError, match="Python objects, which are not unpickled: save it as"):
        find_embeddings(path)
    (tmp_path / "a.npy").write_bytes(objects_npy(sprung))
    with pytest.raises(ShardError, match="Python objects"):
        find_embeddings(tmp_path / "a.npy")
    np.save(tmp_path / "x.npy", X)
    with pytest.raises(ShardError, match=r"a\.npy cannot be read as one value per row"):
        find_embeddings(tmp_path / "x.npy", keys=tmp_path / "a.npy")
    (tmp_path / "b.npy").write_bytes(trap(sprung))
    with pytest.raises(ShardError, match=r"neither an \.npz nor an \.npy"):
        find_embeddings(tmp_path / "b.npy")
    assert not sprung.exists()


def make_input(folder: Path, name: str) -> dict[str, Path]:
    """Writes the files that `name` stands for, and returns the arguments."""
    path = folder / "a.npz"
    good = folder / "good.npy"
    np.save(good, X)
    if name == "absent":
        return {"path": folder / "absent.npz"}
    if name == "no vectors":
        return {"path": save(path, t=X, name=np.arange(6))}
    if name == "two arrays of vectors":
        return {"path": save(path, x=X, embeddings=X)}
    if name == "whole numbers":
        return {"path": save(path, x=X.astype(np.int64))}
    if name == "one row without a second axis":
        return {"path": save(path, x=X[0])}
    if name == "no rows":
        return {"path": save(path, x=X[:0])}
    if name == "labels of another length":
        return {"path": save(path, x=X, y=np.arange(5))}
    if name == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("readme.txt", "nothing")
        return {"path": path}
    if name == "npz cut short":
        save(path, x=X)
        path.write_bytes(path.read_bytes()[:-50])
        return {"path": path}
    if name == "npy cut in its header":
        good.write_bytes(good.read_bytes()[:20])
        return {"path": good}
    if name == "tar":
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as tar:
            tar.addfile(tarfile.TarInfo("a.jpg"))
        path.write_bytes(stream.getvalue())
        return {"path": path}
    below = folder / "below"
    below.mkdir()
    if name == "folder of tars":
        (below / "0.tar").touch()
    elif name == "folder of images":
        (below / "a.JPG").touch()
    elif name == "folder of both":
        np.save(below / "a.npy", X)
        save(below / "a.npz", x=X)
    elif name == "sizes that differ":
        np.save(below / "a.npy", X)
        np.save(below / "b.npy", X[:, :3])
    elif name == "keys for several files":
        np.save(below / "a.npy", X)
        np.save(below / "b.npy", X)
        return {"path": below, "keys": good}
    elif name == "keys of another length":
        (folder / "keys.txt").write_text("a\nb\n")
        return {"path": good, "keys": folder / "keys.txt"}
    elif name == "keys of two axes":
        return {"path": good, "keys": good}
    elif name == "labels given twice":
        (folder / "labels.txt").write_text("a\n" * 6)
        return {"path": save(path, x=X, y=np.arange(6)), "labels": folder / "labels.txt"}
    return {"path": below}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent", r"absent\.npz does not exist: name an"),
        ("no vectors", r"holds t \(6, 4\), name \(6,\): exactly one array must be named x, emb"),
        ("two arrays of vectors", r"exactly one array"),
        ("whole numbers", r"is int64 of shape \(6, 4\): embeddings must be floats of shape"),
        ("one row without a second axis", r"float32 of shape \(4,\): embeddings must be floats"),
        ("no rows", r"holds no rows"),
        ("labels of another length", r"has 6 rows in x but \(5,\) in y"),
        ("zip", r"holds nothing: exactly one array"),
        ("npz cut short", r"cannot be read as embeddings"),
        ("npy cut in its header", r"cannot be read as embeddings"),
        ("tar", r"is a tar shard, not embeddings: use cpp-pipe embed --shards"),
        ("folder of tars", r"holds tar shards, not embeddings: use cpp-pipe embed --shards"),
        ("folder of images", r"holds images, not embeddings"),
        ("folder of both", r"holds \.npz and \.npy files"),
        ("empty folder", r"holds no \.npz, no \.npy"),
        ("sizes that differ", r"vectors of 4 numbers, .*b\.npy of 3"),
        ("keys for several files", r"holds 2 files of vectors"),
        ("keys of another length", r"good\.npy has 6 rows and .*keys\.txt has 2"),
        ("keys of two axes", r"has shape \(6, 4\): it must hold one value per row"),
        ("labels given twice", r"has its own label column"),
    ],
)
def test_an_input_that_cannot_be_imported_says_why(tmp_path: Path, name: str, message: str):
    with pytest.raises(ShardError, match=message):
        find_embeddings(**make_input(tmp_path, name))


def test_truncated_values_fail_when_they_are_loaded(tmp_path: Path):
    np.save(tmp_path / "a.npy", X)
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-8])
    part = only(tmp_path / "a.npy")
    with pytest.raises(ShardError, match=r"a\.npy is damaged"):
        part.load()


@settings(deadline=None, max_examples=60)
@given(edits=byte_edits)
def test_damaged_files_are_loaded_or_refused(
    tmp_path_factory: pytest.TempPathFactory, edits: list[tuple[int, bytes]]
):
    path = save(tmp_path_factory.getbasetemp() / "fuzz.npz", x=X, key=np.array(list("abcdef")))
    overwrite_bytes(path, edits)
    try:
        rows = only(path).load()
    except ShardError:
        return
    assert len(rows.columns["key"]) + len(rows.faults) == 6


def test_values_that_are_cut_while_they_are_loaded_are_refused(tmp_path, monkeypatch):
    """The process ended with SIGBUS, or took zeros where the last page of the file remained."""
    np.save(tmp_path / "x.npy", X)
    part = only(tmp_path / "x.npy")

    def cut(vectors: Any, fields: Any) -> Any:
        os.truncate(part.path, part.path.stat().st_size - 8)
        return to_rows(vectors, fields)

    monkeypatch.setattr(files, "to_rows", cut)
    with pytest.raises(ShardError, match=r"x\.npy ends or cannot be read before row 6"):
        part.load()


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("block_rows", [1, 4, 100])
def test_rows_are_read_in_blocks_whatever_their_order(tmp_path, monkeypatch, order, block_rows):
    monkeypatch.setattr(columns, "BLOCK_ROWS", block_rows)
    np.save(tmp_path / "x.npy", np.asarray(X, order=order))
    units = only(tmp_path / "x.npy").load().columns["embedding"]
    assert abs(units.astype(np.float32) - UNIT).max() < 1e-3


def test_moving_a_file_keeps_its_part_and_changing_it_does_not(tmp_path: Path):
    np.save(tmp_path / "a.npy", X)
    (tmp_path / "b").mkdir()
    np.save(tmp_path / "b" / "a.npy", X)
    file, copy = only(tmp_path / "a.npy"), only(tmp_path / "b" / "a.npy")
    assert file.part_name == copy.part_name
    np.save(tmp_path / "b" / "a.npy", -X)
    assert copy.part_name != file.part_name
