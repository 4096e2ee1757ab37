"""EXIF orientation: a setting for embedding, and always applied for showing images."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageOps

from cpp_pipe import Run
from cpp_pipe.pipeline.report.mosaics import Tiles
from cpp_pipe.pipeline.serve.images import SIZES, resize
from cpp_pipe.pipeline.view.images import read_row
from cpp_pipe.stages.embed import Embed

from ..stages.sources.image_files import png
from .cli import DIGITS, fail, succeed

APPLY = ("--set", "embed.exif=apply")
ON_ITS_SIDE, UPRIGHT = "0.jpg", "1.jpg"


def write_pair(folder: Path) -> Path:
    """A digit on its side, with EXIF that says so, and the same digit upright."""
    folder.mkdir(parents=True)
    upright = Image.open(io.BytesIO(png(7))).convert("RGB").resize((64, 96))
    exif = Image.Exif()
    exif[0x0112] = 6
    upright.transpose(Image.Transpose.ROTATE_90).save(
        folder / ON_ITS_SIDE, exif=exif, quality=98, subsampling=0
    )
    upright.save(folder / UPRIGHT, quality=98, subsampling=0)
    return folder


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> tuple[Path, Path]:
    """A store with a run that ignores EXIF and one that applies it, and their images."""
    folder = tmp_path_factory.mktemp("exif")
    photos, store = write_pair(folder / "photos"), folder / "store"
    succeed(store, "embed", "--images", photos, *DIGITS, "--run", "ignored")
    succeed(store, "embed", "--images", photos, *DIGITS, "--run", "applied", *APPLY)
    return store, photos


def cosine(store: Path, run: str) -> float:
    artifact = Run.open(store, run).artifact("embeddings")
    first, second = artifact.embeddings(artifact.only_part).astype(np.float32)
    return float(first @ second)


def test_embeddings_follow_the_setting(world):
    store, _ = world
    assert cosine(store, "applied") > 0.98
    assert cosine(store, "ignored") < 0.9


def test_the_default_changes_no_version_and_is_not_recorded(world):
    plain = Embed(model="m", pretrained="p")
    assert plain == Embed(model="m", pretrained="p", exif="ignore")
    assert "exif" not in plain.config()
    assert Embed(model="m", pretrained="p", exif="apply").config()["exif"] == "apply"
    store, _ = world
    models = [
        Run.open(store, run).artifact("embeddings").facts["model"] for run in ("ignored", "applied")
    ]
    assert "exif" not in models[0] and models[1] == {**models[0], "exif": "apply"}


def test_another_value_is_refused_before_any_work(world):
    store, photos = world
    line = fail(store, "embed", "--images", photos, *DIGITS, "--set", "embed.exif=maybe")
    assert "key exif: must be 'ignore' or 'apply', got 'maybe'" in line


@pytest.mark.parametrize(("run", "least"), [("ignored", 0.999), ("applied", 0.999)])
def test_a_query_is_rotated_as_its_run_says(world, run, least):
    store, photos = world
    words = ["--run", run, "--space", "embeddings", "--json"]
    hits = json.loads(succeed(store, "search", "--query", photos / ON_ITS_SIDE, *words).out)
    assert hits[0]["key"] == ON_ITS_SIDE and hits[0]["similarity"] > least


def is_upright(image: Image.Image) -> bool:
    """Whether an image shows the digit upright."""
    upright = Image.open(io.BytesIO(png(7))).convert("L").resize((64, 64))
    square = image.convert("L").resize((64, 64))
    pixels = [np.asarray(one, np.float64).ravel() for one in (square, upright)]
    return bool(np.corrcoef(np.stack(pixels)).min() > 0.95)


@pytest.mark.parametrize("run", ["ignored", "applied"])
def test_images_are_shown_upright_whatever_the_setting(world, tmp_path, run):
    store, photos = world
    opened = Run.open(store, run)
    embeddings, sources = opened.artifact("embeddings"), opened.record.sources
    for row in range(2):
        assert opened.image(row).size == (64, 96) and is_upright(opened.image(row))
        data = read_row(embeddings, sources, row)
        for size in SIZES:  # of the page
            shown = Image.open(io.BytesIO(resize(data, size, row)[0]))
            assert is_upright(shown)
        # A browser turns the original itself.
        assert is_upright(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    tiles = Tiles(opened).read([0, 1], 64)
    first, second = (np.asarray(tile, np.float64) for tile in tiles)
    assert np.abs(first - second).mean() < 5
    sheet = tmp_path / "sheet.png"
    words = ["--query", photos / ON_ITS_SIDE, "--space", "embeddings", "-n", "2", "--run", run]
    succeed(store, "search", *words, "--sheet", sheet)
    drawn = np.asarray(Image.open(sheet).convert("L"), np.float64)
    tiles = [drawn[8:168, 8 + 168 * n : 168 + 168 * n] for n in range(3)]
    assert all(np.abs(tile[10:150, 10:150] - tiles[0][10:150, 10:150]).mean() < 6
               for tile in tiles)  # fmt: skip


def test_thumbnails_of_an_export_are_upright(world):
    from cpp_pipe.pipeline.exports.embedding_atlas import _thumbnails

    _, photos = world
    encoded = iter([(photos / name).read_bytes() for name in (ON_ITS_SIDE, UPRIGHT)])
    table = pa.table({"key": [ON_ITS_SIDE, UPRIGHT]})
    for value in _thumbnails(encoded, table, 64).to_pylist():
        assert is_upright(Image.open(io.BytesIO(value["bytes"])))
