"""Pictures of rows: small ones within a bound, originals byte for byte, and what is gone."""

import io
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from cpp_pipe import Run
from cpp_pipe.pipeline.serve.pictures import SIZES, Pictures, _draw
from cpp_pipe.store import MissingError

from .serving import serve


def encoded(width: int, height: int, kind: str = "JPEG") -> bytes:
    written = io.BytesIO()
    Image.effect_noise((width, height), 40).convert("RGB").save(written, kind)
    return written.getvalue()


def size_of(data: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(data)) as image:
        return image.size


@pytest.mark.parametrize(
    "given, size, expected",
    [
        ((800, 600), 128, (171, 128)),
        ((600, 800), 256, (256, 341)),
        ((3000, 300), 128, (256, 128)),
        ((300, 3000), 256, (256, 512)),
        ((100, 90), 256, (100, 90)),
        ((2560, 1440), 1280, (1280, 720)),
        ((9000, 2), 1280, (1280, 1)),
        ((1, 1), 128, (1, 1)),
    ],
)
def test_a_small_picture_fills_its_square_and_is_never_enlarged(given, size, expected):
    data, _ = _draw(encoded(*given), size, 0)
    assert size_of(data) == expected


def test_few_pixels_are_kept_as_they_are():
    few = encoded(8, 8, "PNG")
    data, media_type = _draw(few, 128, 0)
    assert media_type == "image/png"
    with Image.open(io.BytesIO(data)) as drawn, Image.open(io.BytesIO(few)) as given:
        assert drawn.tobytes() == given.tobytes()
    assert _draw(encoded(200, 200), 128, 0)[1] == "image/jpeg"


def test_small_pictures_are_kept_within_a_bound_the_latest_longest(finished):
    run = Run.open(finished)
    one = len(Pictures(run).get(0, 128)[0])
    pictures = Pictures(run, most_bytes=10 * one)
    for row in range(40):
        pictures.get(row, 128)
        assert pictures.bytes_kept <= 10 * one
    assert pictures.find(39, 128) is not None and pictures.find(0, 128) is None
    pictures.get(1, 1280)
    assert pictures.find(1, 1280) is None, "large ones are not kept"


def test_a_browser_keeps_a_picture_only_while_the_run_stays(served):
    generation = served.json("/api/run")["generation"]
    fixed = served.get("/api/pictures/4", size=128, v=generation)
    loose = served.get("/api/pictures/4", size=128, v="of another day")
    assert "immutable" in fixed.headers["cache-control"]
    assert loose.headers["cache-control"] == "private, no-cache"
    again = served.client.get(
        "/api/pictures/4", params={"size": 128}, headers={"if-none-match": loose.headers["etag"]}
    )
    assert again.status_code == 304 and again.content == b""


@pytest.mark.parametrize("size", SIZES)
def test_every_size_is_a_picture_of_the_row(served, size):
    found = served.get("/api/pictures/4", size=size)
    assert found.headers["content-type"] in ("image/png", "image/jpeg")
    assert size_of(found.content) == (32, 32)


def test_the_original_is_what_was_embedded_to_be_saved(served, finished):
    told = served.json("/api/images/4")
    found = served.get("/api/pictures/4/original")
    with Path(told["source"]).open("rb") as file:
        file.seek(told["offset"])
        assert found.content == file.read(told["size"])
    assert found.headers["content-disposition"].startswith("attachment")
    assert found.headers["content-type"] == "image/png"


def test_a_tar_that_is_gone_is_said_and_the_others_are_shown(moved):
    with serve(moved) as found:
        assert found.get("/api/pictures/4", size=256).status_code == 200
        gone = Path(found.json("/api/images/25")["source"])
        gone.unlink()
        for path in ("/api/pictures/25", "/api/pictures/25/original"):
            answer = found.get(path)
            assert answer.status_code == 404
            assert "put it back, or run `cpp-pipe embed --shards`" in answer.json()["detail"]
        # What is in memory stays, and so does what the store itself knows.
        assert found.get("/api/pictures/4", size=256).status_code == 200
        assert found.get("/api/pictures/5", size=256).status_code == 200
        assert found.json("/api/images/25/neighbours")["hits"]


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says that it has very many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(b"\0" * 10_000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


@pytest.mark.parametrize("what", [SVG, b"<html><script>alert(1)</script>", bomb(60_000, 60_000)])
def test_a_shard_that_was_overwritten_shows_nothing_that_acts(moved, what):
    with serve(moved) as found:
        told = found.json("/api/images/4")
        path = Path(told["source"])
        data = bytearray(path.read_bytes())
        data[told["offset"] : told["offset"] + told["size"]] = what.ljust(told["size"])[
            : told["size"]
        ]
        path.write_bytes(data)
        answer = found.get("/api/pictures/4")
        assert answer.status_code == 404 and "no picture any more" in answer.json()["detail"]
        original = found.get("/api/pictures/4/original")
        assert original.headers["content-disposition"].startswith("attachment")
        assert original.headers["content-type"] in ("application/octet-stream", "image/png")
        assert original.headers["x-content-type-options"] == "nosniff"


def test_a_shard_that_is_shorter_now_is_said(moved):
    with serve(moved) as found:
        path = Path(found.json("/api/images/19")["source"])
        with path.open("r+b") as file:
            file.truncate(2000)
        assert found.get("/api/pictures/19").status_code == 404


def test_rows_that_never_had_pictures_are_said(tmp_path):
    import numpy as np

    from ..cli import SMALL, succeed

    rows = np.random.default_rng(0).standard_normal((30, 8))
    np.savez(tmp_path / "rows.npz", x=rows, key=[f"k{number}" for number in range(30)])
    store = tmp_path / "artifacts"
    succeed(store, "import", tmp_path / "rows.npz", "--model", "ViT-B-32")
    succeed(store, "train", *SMALL)
    succeed(store, "assign", "--k", "2")
    with serve(store) as found:
        assert found.json("/api/run")["tree"] is None
        answer = found.get("/api/pictures/3")
        assert answer.status_code == 404 and "was imported" in answer.json()["detail"]
        assert found.json("/api/images/3/neighbours", n=3)["hits"]


def test_a_missing_row_is_no_picture(finished):
    with pytest.raises(MissingError, match="there are 0 to 59"):
        Pictures(Run.open(finished)).get(60, 128)
