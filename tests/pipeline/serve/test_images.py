"""Images of rows: small ones within a limit, originals byte for byte, and missing files."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cpp_pipe import Run
from cpp_pipe.pipeline.serve.images import SIZES, STRIP_SIDE, Images, resize
from cpp_pipe.pipeline.serve.mapped_folder import MappedFolder
from cpp_pipe.pipeline.serve.row_fields import RowFields
from cpp_pipe.store import MissingError

from ..cli import SMALL, succeed
from .server import serve


def encoded(width: int, height: int, kind: str = "JPEG") -> bytes:
    file = io.BytesIO()
    Image.effect_noise((width, height), 40).convert("RGB").save(file, kind)
    return file.getvalue()


def size_of(data: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(data)) as image:
        return image.size


@pytest.mark.parametrize(
    "given, size, expected",
    [
        ((800, 600), 128, (171, 128)),
        ((600, 800), 256, (256, 341)),
        ((3000, 300), 128, (512, 51)),
        ((300, 3000), 256, (102, 1024)),
        ((100, 90), 256, (100, 90)),
        ((2560, 1440), 1280, (1280, 720)),
        ((9000, 2), 1280, (1280, 1)),
        ((1, 1), 128, (1, 1)),
    ],
)
def test_a_small_image_keeps_its_aspect_and_is_never_enlarged(given, size, expected):
    data, _ = resize(encoded(*given), size, 0)
    assert size_of(data) == expected


def test_images_of_few_pixels_keep_every_pixel():
    few = encoded(8, 8, "PNG")
    data, media_type = resize(few, 128, 0)
    assert media_type == "image/png"
    with Image.open(io.BytesIO(data)) as resized, Image.open(io.BytesIO(few)) as given:
        assert resized.tobytes() == given.tobytes()
    assert resize(encoded(200, 200), 128, 0)[1] == "image/jpeg"


def test_small_images_are_cached_within_a_limit_latest_first(finished, tmp_path):
    run = Run.open(finished)
    rows = RowFields(run.artifact("embeddings"), MappedFolder(tmp_path))
    limit = 10 * len(Images(run, rows).get(0, 128)[0])
    images = Images(run, rows, max_bytes=limit)
    for row in range(40):
        images.get(row, 128)
        # In the order of their use, so that looking them up does not change it.
        cached = [images.find(earlier, 128) for earlier in range(row + 1)]
        assert sum(len(image[0]) for image in cached if image is not None) <= limit
    assert images.find(39, 128) is not None and images.find(0, 128) is None
    images.get(1, 1280)
    assert images.find(1, 1280) is None, "large ones are not cached"


def test_a_browser_caches_an_image_only_until_the_run_changes(served):
    generation = served.json("/api/run")["generation"]
    fixed = served.get("/api/pictures/4", size=128, v=generation)
    loose = served.get("/api/pictures/4", size=128, v="of another run")
    assert "immutable" in fixed.headers["cache-control"]
    assert loose.headers["cache-control"] == "private, no-cache"
    again = served.client.get(
        "/api/pictures/4", params={"size": 128}, headers={"if-none-match": loose.headers["etag"]}
    )
    assert again.status_code == 304 and again.content == b""


@pytest.mark.parametrize("size", SIZES)
def test_every_size_shows_the_image_of_the_row(served, size):
    answer = served.get("/api/pictures/4", size=size)
    assert answer.headers["content-type"] in ("image/png", "image/jpeg")
    assert size_of(answer.content) == (32, 32)


def test_the_original_image_can_be_downloaded(served, finished):
    facts = served.json("/api/images/4")
    answer = served.get("/api/pictures/4/original")
    with served.source_of(4).open("rb") as file:
        file.seek(facts["offset"])
        assert answer.content == file.read(facts["size"])
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["content-type"] == "image/png"


def test_a_missing_tar_is_reported_and_the_others_are_shown(own_store):
    with serve(own_store) as server:
        assert server.get("/api/pictures/4", size=256).status_code == 200
        missing = server.source_of(25)
        missing.unlink()
        for path in ("/api/pictures/25", "/api/pictures/25/original"):
            answer = server.get(path)
            assert answer.status_code == 404
            assert "put it back, or run `cpp-pipe embed --shards`" in answer.json()["detail"]
        # What is in memory, and what the store itself holds, is still served.
        assert server.get("/api/pictures/4", size=256).status_code == 200
        assert server.get("/api/pictures/5", size=256).status_code == 200
        assert server.json("/api/images/25/neighbours")["hits"]


def test_a_strip_with_a_missing_image_is_not_cached(own_store):
    run = Run.open(own_store)
    embeddings = run.artifact("embeddings")
    missing = Path(run.record.sources[embeddings.locate(25)[0]])
    content = missing.read_bytes()
    missing.unlink()  # before the server draws what is seen first
    with serve(own_store) as server:
        generation = server.json("/api/run")["generation"]
        gap = server.get("/api/strip", row=[4, 25], v=generation)
        assert gap.status_code == 200 and gap.headers["cache-control"] == "no-store"
        missing.write_bytes(content)
        whole = server.get("/api/strip", row=[4, 25], v=generation)
        assert "immutable" in whole.headers["cache-control"] and whole.content != gap.content
        assert server.get("/api/strip", row=[4, 60]).status_code == 404


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims to have very many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(b"\0" * 10_000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


@pytest.mark.parametrize("content", [SVG, b"<html><script>alert(1)</script>", bomb(60_000, 60_000)])
def test_an_overwritten_shard_never_shows_a_script(own_store, content):
    with serve(own_store) as server:
        facts = server.json("/api/images/4")
        path, start, size = server.source_of(4), facts["offset"], facts["size"]
        data = bytearray(path.read_bytes())
        data[start : start + size] = content.ljust(size)[:size]
        path.write_bytes(data)
        answer = server.get("/api/pictures/4")
        assert answer.status_code == 404 and "not what was embedded" in answer.json()["detail"]
        assert server.get("/api/pictures/4/original").status_code == 404


def test_a_truncated_shard_is_reported(own_store):
    with serve(own_store) as server:
        path = server.source_of(19)
        with path.open("r+b") as file:
            file.truncate(2000)
        assert server.get("/api/pictures/19").status_code == 404


def test_rows_that_were_imported_without_images_are_reported(tmp_path):
    rows = np.random.default_rng(0).standard_normal((30, 8))
    np.savez(tmp_path / "rows.npz", x=rows, key=[f"k{number}" for number in range(30)])
    store = tmp_path / "artifacts"
    succeed(store, "import", tmp_path / "rows.npz", "--model", "ViT-B-32")
    succeed(store, "train", *SMALL)
    succeed(store, "assign", "--k", "2")
    with serve(store) as server:
        assert server.json("/api/run")["tree"] is None
        answer = server.get("/api/pictures/3")
        assert answer.status_code == 404 and "was imported" in answer.json()["detail"]
        assert server.json("/api/images/3/neighbours", n=3)["hits"]


def test_a_strip_shows_images_side_by_side(served):
    answer = served.get("/api/strip", row=[3, 4, 5])
    assert answer.headers["content-type"] == "image/jpeg"
    assert size_of(answer.content) == (3 * STRIP_SIDE, STRIP_SIDE)
    with Image.open(io.BytesIO(answer.content)) as strip:
        squares = [np.asarray(strip)[:, place * STRIP_SIDE :][:, :STRIP_SIDE] for place in range(3)]
    for square, row in zip(squares, (3, 4, 5), strict=True):
        with Image.open(io.BytesIO(served.get(f"/api/pictures/{row}", size=128).content)) as alone:
            own = np.asarray(alone.convert("RGB").resize((STRIP_SIDE, STRIP_SIDE)))
        others = [np.abs(square.astype(int) - other).mean() for other in squares]
        assert np.abs(square.astype(int) - own).mean() < 20 < sorted(others)[1]
    generation = served.json("/api/run")["generation"]
    fixed = served.get("/api/strip", row=[3], v=generation)
    assert "immutable" in fixed.headers["cache-control"]
    assert served.get("/api/strip", row=list(range(9))).status_code == 422


def test_a_missing_row_has_no_image(finished, tmp_path):
    run = Run.open(finished)
    images = Images(run, RowFields(run.artifact("embeddings"), MappedFolder(tmp_path)))
    with pytest.raises(MissingError, match="must be from 0 to 59, got 60"):
        images.get(60, 128)
