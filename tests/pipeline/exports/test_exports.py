"""Exports have the layouts of other tools, and open in those that are installed."""

import base64
import importlib.util
import io
import json
import os
import shlex
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from cpp_pipe import Run
from cpp_pipe.pipeline.exports import embedding_atlas
from cpp_pipe.pipeline.exports.embedding_atlas import find_neighbours, project
from cpp_pipe.pipeline.view.columns import read_rows
from cpp_pipe.stages.rows.artifact_rows import gather

from ..cli import fail, succeed
from ..curation.world import artifact

ROWS = 60


@pytest.fixture(scope="module")
def store(tmp_path_factory, copy_of_run) -> Path:
    """A run of digits that lacks nothing."""
    made = copy_of_run(tmp_path_factory.mktemp("exports") / "artifacts")
    succeed(made, "duplicates", "--above", "0.9")
    return made


@pytest.fixture(scope="module")
def exported(store, tmp_path_factory):
    """A function that writes an export once and returns its path."""
    folder, paths = tmp_path_factory.mktemp("exported"), {}

    def export(form: str, name: str, *flags: str) -> Path:
        if name not in paths:
            succeed(store, "export", form, "--out", folder / name, *flags)
            paths[name] = folder / name
        return paths[name]

    return export


def column(store: Path, slot: str, name: str) -> list:
    return artifact(store, slot).column(name)


def run_elsewhere(code: str, *arguments: str | Path) -> str:
    """The output of Python code in a new process."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


# Parquet.


def test_parquet_has_a_row_an_image_with_all_columns(store, exported):
    table = pq.read_table(exported("parquet", "rows.parquet"))
    assert table.column("row").to_pylist() == list(range(ROWS))
    for name in ("key", "label", "caption", "shard", "extra", "width"):
        assert table.column(name).to_pylist() == column(store, "embeddings", name)
    for name in ("cluster", "confidence", "novelty"):
        assert table.column(name).to_pylist() == column(store, "assignments", name)
    vectors = np.stack(table.column("embedding").to_numpy())
    np.testing.assert_array_equal(vectors, gather(artifact(store, "embeddings")))
    features = np.stack(table.column("feature").to_numpy())
    np.testing.assert_array_equal(features, gather(artifact(store, "features"), "z"))
    captions = artifact(store, "captions").table("captions").to_pylist()
    first = {row["cluster"]: row["caption"] for row in captions if row["rank"] == 1}
    for row in table.select(["cluster", "cluster_caption"]).to_pylist():
        assert row["cluster_caption"] == first[row["cluster"]]


def test_duplicates_name_the_row_that_is_kept(store, exported):
    found = pq.read_table(exported("parquet", "rows.parquet")).column("duplicate_of").to_pylist()
    rows = artifact(store, "duplicates").table("duplicates").to_pylist()
    kept = {row["group"]: row["row"] for row in rows if row["kept"]}
    expected = {row["row"]: kept[row["group"]] for row in rows if not row["kept"]}
    assert expected
    assert {row: other for row, other in enumerate(found) if other is not None} == expected


def test_a_run_with_only_embeddings_can_be_exported(tmp_path, digit_shards):
    from ..cli import embed

    embed(tmp_path / "store", digit_shards)
    done = succeed(tmp_path / "store", "export", "parquet", "--out", tmp_path / "x.parquet")
    assert "with embeddings alone" in done.out
    names = pq.read_table(tmp_path / "x.parquet").column_names
    assert "embedding" in names
    assert not {"cluster", "feature", "duplicate_of"} & set(names)


@pytest.mark.parametrize("form", ["parquet", "clip-retrieval", "fiftyone"])
def test_the_next_command_of_an_export_can_be_typed_as_printed(store, tmp_path, form):
    out = tmp_path / f"it's $HOME{'.parquet' if form == 'parquet' else ''}"
    lines = succeed(store, "export", form, "--out", out).out.splitlines()
    words = shlex.split(next(line for line in lines if line.startswith("next: ")))
    assert words[1] in ("duckdb", "clip-retrieval", "python")
    text = " ".join(words)
    assert "..." not in text and "…" not in text
    escaped = {"parquet": str(out).replace("'", "''"), "fiftyone": repr(str(out))}
    assert escaped.get(form, str(out)) in text


# clip-retrieval.


def test_clip_retrieval_has_pairs_of_embeddings_and_metadata(store, exported):
    folder = exported("clip-retrieval", "clip-retrieval", "--texts")
    names = [f"{number:04d}" for number in range(3)]
    for kind, suffix in (("img_emb", "npy"), ("text_emb", "npy"), ("metadata", "parquet")):
        files = sorted(path.name for path in (folder / kind).iterdir())
        assert files == [f"{kind}_{name}.{suffix}" for name in names]
    blocks = [np.load(folder / "img_emb" / f"img_emb_{name}.npy") for name in names]
    tables = [pq.read_table(folder / "metadata" / f"metadata_{name}.parquet") for name in names]
    assert [len(block) for block in blocks] == [len(table) for table in tables] == [20, 20, 20]
    assert blocks[0].dtype == np.float16
    np.testing.assert_array_equal(np.concatenate(blocks), gather(artifact(store, "embeddings")))
    keys = [key for table in tables for key in table.column("image_path").to_pylist()]
    assert keys == column(store, "embeddings", "key")


def test_clip_retrieval_texts_are_embedded_captions(store, exported):
    folder = exported("clip-retrieval", "clip-retrieval", "--texts")
    found = np.load(folder / "text_emb" / "text_emb_0001.npy")
    captions = column(store, "embeddings", "caption")[20:40]
    expected = Run.open(store).encoder.texts(captions)
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_an_export_for_clip_retrieval_can_be_imported(store, exported, tmp_path):
    folder = exported("clip-retrieval", "clip-retrieval", "--texts")
    model = ("--model", "digits-clip", "--pretrained", "shipped")
    succeed(tmp_path / "store", "import", folder, *model)
    old, new = artifact(store, "embeddings"), artifact(tmp_path / "store", "embeddings")
    for name in ("key", "caption", "label"):
        assert new.column(name) == old.column(name)
    # Import normalises rows in float32 and rounds them again.
    x, y = gather(new).astype(np.float32), gather(old).astype(np.float32)
    np.testing.assert_allclose(x, y, atol=1e-3)


# LanceDB.


def test_lancedb_opens_the_table_and_finds_a_row_by_its_vector(store, exported):
    lancedb = pytest.importorskip("lancedb", reason="the extra lancedb is not installed")
    folder = exported("lancedb", "rows.lancedb")
    table = lancedb.connect(str(folder)).open_table("images")
    assert table.count_rows() == ROWS
    x, keys = gather(artifact(store, "embeddings")), column(store, "embeddings", "key")
    hits = table.search(x[7].astype(np.float32)).distance_type("cosine").limit(3).to_list()
    assert hits[0]["key"] == keys[7]
    expected = np.argsort(-(x.astype(np.float32) @ x[7].astype(np.float32)))[:3]
    assert [hit["row"] for hit in hits] == expected.tolist()
    assert hits[0]["cluster"] == column(store, "assignments", "cluster")[7]


@pytest.mark.skipif(importlib.util.find_spec("lancedb") is not None, reason="LanceDB is installed")
def test_without_lancedb_the_export_says_what_to_install(store, tmp_path):
    line = fail(store, "export", "lancedb", "--out", tmp_path / "out")
    assert "pip install 'cpp-pipe[lancedb]'" in line
    assert not (tmp_path / "out").exists()


# embedding-atlas.


def test_rows_of_one_number_lie_on_a_line():
    x = np.array([[1], [5], [3]], np.float32)
    places = project(x, "pca")
    assert places.shape == (3, 2) and places.dtype == np.float32
    np.testing.assert_allclose(np.abs(places), [[2, 0], [2, 0], [0, 0]])


def test_atlas_has_places_neighbours_and_thumbnails(store, exported):
    table = pq.read_table(exported("embedding-atlas", "atlas.parquet", "--thumbnails", "24"))
    z, c = (gather(artifact(store, "features"), role) for role in ("z", "c"))
    assert np.array_equal(z, c), "then z is searched alone"
    x_y = np.stack([table.column(name).to_numpy() for name in ("projection_x", "projection_y")], 1)
    reference = PCA(2, svd_solver="full").fit_transform(z.astype(np.float32))
    signs = np.sign((x_y * reference).sum(0))
    np.testing.assert_allclose(x_y * signs, reference, atol=1e-4)
    neighbours = table.column("neighbors").to_pylist()
    for name in ("ids", "distances"):
        assert {len(near[name]) for near in neighbours} == {15}
    for image, key in zip(
        table.column("image").to_pylist(), column(store, "embeddings", "key"), strict=True
    ):
        assert image["path"] == key
        with Image.open(io.BytesIO(image["bytes"])) as opened:
            assert opened.size == (24, 24)


@pytest.mark.parametrize(("n", "k"), [(1, 0), (2, 1), (40, 15), (1500, 4)])
def test_neighbours_are_the_nearest_other_rows(n, k):
    x = np.random.default_rng(n).standard_normal((n, 12)).astype(np.float32)
    ids, distances = find_neighbours(x, k)
    assert ids.shape == distances.shape == (n, k)
    if k:
        expected = NearestNeighbors(n_neighbors=k, metric="cosine").fit(x).kneighbors()
        np.testing.assert_allclose(distances, expected[0], atol=1e-5)
        assert (ids == expected[1]).mean() > 0.999
        assert not (ids == np.arange(n)[:, None]).any()


def test_neighbours_of_many_rows_are_found_without_all_their_cosines(monkeypatch):
    x = np.random.default_rng(0).standard_normal((3000, 8)).astype(np.float32)
    expected = find_neighbours(x, 5)
    monkeypatch.setattr(embedding_atlas, "_COSINES", 100_000)
    tracemalloc.start()
    ids, distances = find_neighbours(x, 5)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4_000_000
    assert (ids == expected[0]).mean() > 0.999
    np.testing.assert_allclose(distances, expected[1], atol=1e-6)


@pytest.mark.skipif(importlib.util.find_spec("umap") is not None, reason="umap-learn is installed")
def test_without_umap_the_projection_says_what_to_install(store, tmp_path):
    out = tmp_path / "atlas.parquet"
    line = fail(store, "export", "embedding-atlas", "--projection", "umap", "--out", out)
    assert "pip install 'cpp-pipe[atlas]'" in line
    assert not out.exists()


@pytest.mark.slow
@pytest.mark.umap
@pytest.mark.filterwarnings("ignore")
def test_umap_places_every_row():
    pytest.importorskip("umap", reason="the extra atlas is not installed")
    x = np.random.default_rng(0).standard_normal((60, 8)).astype(np.float32)
    places = project(x, "umap")
    assert places.shape == (60, 2) and np.isfinite(places).all()
    assert project(np.eye(3, dtype=np.float32), "pca").shape == (3, 2)


def test_embedding_atlas_builds_its_page_from_the_export(exported, tmp_path):
    if importlib.util.find_spec("embedding_atlas") is None:
        pytest.skip("the extra atlas is not installed")
    table = exported("embedding-atlas", "atlas.parquet", "--thumbnails", "24")
    page = tmp_path / "page"
    code = "import sys; from embedding_atlas.cli import main; main(sys.argv[1:])"
    columns = ("--x", "projection_x", "--y", "projection_y", "--neighbors", "neighbors")
    run_elsewhere(code, table, *columns, "--image", "image", "--export-application", page)
    props = json.loads((page / "data" / "metadata.json").read_text())["props"]["data"]
    assert props["projection"] == {"x": "projection_x", "y": "projection_y"}
    assert (props["neighbors"], props["image"]) == ("neighbors", "image")
    shown = pq.read_table(page / "data" / "dataset.parquet")
    assert shown.column("key").to_pylist() == pq.read_table(table).column("key").to_pylist()


# FiftyOne.


def test_fiftyone_has_images_samples_and_the_types_of_fields(store, exported):
    folder = exported("fiftyone", "fiftyone")
    samples = json.loads((folder / "samples.json").read_text())["samples"]
    metadata = json.loads((folder / "metadata.json").read_text())
    assert "version" not in metadata  # else it would be a document of a database
    assert set(metadata["sample_fields"]) == set(samples[0])
    x = gather(artifact(store, "embeddings"))
    run, clusters = Run.open(store), column(store, "assignments", "cluster")
    for row, sample in enumerate(samples):
        with Image.open(folder / sample["filepath"]) as opened:
            assert opened.convert("RGB").tobytes() == run.image(row).tobytes()
        size = (folder / sample["filepath"]).stat().st_size
        assert sample["metadata"]["size_bytes"] == size
        stored = base64.b64decode(sample["embedding"]["$binary"]["base64"])
        vector = np.load(io.BytesIO(zlib.decompress(stored)), allow_pickle=False)
        np.testing.assert_array_equal(vector, x[row].astype(np.float32))
        assert sample["cluster"]["label"].split()[0] == str(clusters[row])
    dropped = {sample["row"] for sample in samples if "duplicate" in sample["tags"]}
    assert len(dropped) == artifact(store, "duplicates").facts["dropped"]


_OPEN = """
import sys
import tracemalloc
import fiftyone as fo
dataset = fo.Dataset.from_dir(sys.argv[1], dataset_type=fo.types.FiftyOneDataset)
dataset.compute_metadata(overwrite=True)
rows = [
    [row.key, row.cluster.label, row.cluster.confidence, row.ground_truth.label, len(row.embedding),
     row.metadata.width, row.tags]
    for row in dataset
]
dataset.delete()
import json
print("rows", json.dumps(rows))
"""


def test_fiftyone_opens_the_export_as_a_dataset(store, exported):
    if importlib.util.find_spec("fiftyone") is None:
        pytest.skip("the extra fiftyone is not installed")
    spec = importlib.util.find_spec("fiftyone")
    assert spec is not None
    assert spec.origin is not None
    if not (Path(spec.origin).parent / "db" / "bin" / "mongod").is_file():
        pytest.skip("FiftyOne is installed without its database")
    rows = json.loads(run_elsewhere(_OPEN, exported("fiftyone", "fiftyone")).split("rows ")[-1])
    assert [row[0] for row in rows] == column(store, "embeddings", "key")
    assert [row[3] for row in rows] == column(store, "embeddings", "label")
    clusters = column(store, "assignments", "cluster")
    assert [int(row[1].split()[0]) for row in rows] == clusters
    confidence = column(store, "assignments", "confidence")
    np.testing.assert_allclose([row[2] for row in rows], confidence, atol=1e-6)
    assert {tuple(row[4:6]) for row in rows} == {(32, 32)}


# Wrong input.


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("xlsx",), "FORMAT must be one of parquet, csv, folders, clip-retrieval, lancedb"),
        (("parquet", "--texts"), "--texts goes with export clip-retrieval, not with parquet"),
        (("fiftyone", "--thumbnails", "9"), "--thumbnails goes with export embedding-atlas"),
        (("parquet", "--projection", "umap"), "--projection goes with export embedding-atlas"),
        (("embedding-atlas", "--projection", "tsne"), "--projection must be pca or umap"),
        (("coco", "--split", "0.5"), "--split goes with export imagefolder, not with coco"),
        (("csv", "--samples-per-shard", "5"), "goes with export webdataset or huggingface"),
        (("coco", "--link"), "--link goes with export folders, not with coco"),
    ],
)
def test_flags_of_another_format_are_refused(store, tmp_path, words, line):
    assert line in fail(store, "export", *words, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("fiftyone", "--edits", "open"), "--edits goes with export parquet, csv, folders, coco"),
        (("lancedb", "--where", "width > 9"), "--where goes with export parquet, csv, folders"),
        (("csv", "--where", "width"), "--where must be NAME OPERATOR VALUE"),
    ],
)
def test_decisions_and_conditions_are_refused_before_anything_is_made(tmp_path, words, line):
    out = tmp_path / f"out.{words[0]}"
    assert line in fail(tmp_path / "artifacts", "export", *words, "--out", out)


def test_a_folder_that_is_not_empty_is_refused(store, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    assert "exists already" in fail(store, "export", "clip-retrieval", "--out", tmp_path)
    assert "is a folder" in fail(store, "export", "parquet", "--out", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_image_that_was_damaged_ends_an_export_in_one_line(tmp_path):
    """It ended in a traceback where the shard seemed unchanged, as after a fault of a disk."""
    from ...stages.shards import write_shards
    from ..cli import embed

    (shard,) = write_shards(tmp_path / "shards", shards=1, size=40)
    os.utime(shard, (1e9, 1e9))
    embed(tmp_path / "store", tmp_path / "shards")
    (row,) = read_rows(Run.open(tmp_path / "store").artifact("embeddings"), [20], ("key", "offset"))
    with shard.open("r+b") as file:
        file.seek(row["offset"])
        file.write(bytes(16))
    os.utime(shard, (1e9, 1e9))
    atlas = ("embedding-atlas", "--thumbnails", "16")
    for form, name in ((("folders",), "a"), (("fiftyone",), "b"), (atlas, "c.parquet")):
        line = fail(tmp_path / "store", "export", *form, "--out", tmp_path / name)
        assert f"{row['key']} is no image any more" in line
    assert {path.name for path in tmp_path.iterdir()} == {"shards", "store"}


def test_a_missing_source_leaves_no_partial_export(tmp_path):
    from ...stages.shards import write_shards
    from ..cli import embed

    write_shards(tmp_path / "shards", shards=1, size=5)
    embed(tmp_path / "store", tmp_path / "shards")
    (tmp_path / "shards" / "000.tar").unlink()
    atlas = ("embedding-atlas", "--thumbnails", "16")
    for form, name in ((("fiftyone",), "out"), (atlas, "out.parquet")):
        line = fail(tmp_path / "store", "export", *form, "--out", tmp_path / name)
        assert "000.tar cannot be read" in line
    assert not [path for path in tmp_path.iterdir() if "out" in path.name]
