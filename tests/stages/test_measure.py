"""The stage that measures images: sizes as they are shown, and images that cannot be read."""

import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from cpp_pipe import Run
from cpp_pipe.pipeline.making.plan import Plan
from cpp_pipe.stages.rows.embedded_images import map_images
from cpp_pipe.stages.rows.score_columns import IMAGE_SCORES, MEASURED
from cpp_pipe.store import MissingError, Store

from .world import SETTINGS, plan_of


def photograph() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((480, 360), Image.Resampling.BICUBIC)


def write(folder: Path) -> Path:
    """A photograph, blurred, grey, turned by EXIF, twice as large, and a very long one."""
    folder.mkdir()
    image, exif = photograph(), Image.Exif()
    exif[0x0112] = 6
    image.save(folder / "a-whole.png")
    image.filter(ImageFilter.GaussianBlur(3)).save(folder / "b-blurred.png")
    image.convert("L").save(folder / "c-grey.png")
    image.save(folder / "d-turned.jpg", exif=exif, quality=95)
    image.resize((960, 720), Image.Resampling.BICUBIC).save(folder / "e-large.jpg", quality=95)
    image.resize((2000, 2)).save(folder / "f-long.png")
    return folder


@pytest.fixture
def plan(tmp_path) -> Plan:
    folder = write(tmp_path / "images")
    plan = plan_of(Store(tmp_path / "store"), folder)
    settings = SETTINGS.override("data", images=(str(folder),), shards=())
    return replace(plan, settings=settings)


def scores(plan: Plan) -> dict[str, np.ndarray]:
    plan.make(IMAGE_SCORES)
    run = Run.open(plan.store, plan.run)
    return {name: run.scores(name) for name in MEASURED}


def test_images_are_measured_upright_and_at_one_size(plan):
    found = scores(plan)
    whole, blurred, grey, turned, large, long = range(6)
    assert found["aspect"].tolist() == pytest.approx([4 / 3, 4 / 3, 4 / 3, 3 / 4, 4 / 3, 1000])
    assert found["megapixels"][[whole, turned, large]].tolist() == pytest.approx(
        [0.1728, 0.1728, 0.6912]
    )
    sharp, colour = found["sharpness"], found["colourfulness"]
    assert sharp[blurred] < sharp[whole] - 0.5
    assert colour[grey] == 0 and colour[whole] > 20
    # The same image in another size and file: within what JPEG and resampling change.
    assert sharp[large] == pytest.approx(sharp[whole], abs=0.1)
    assert sharp[turned] == pytest.approx(sharp[whole], abs=0.1)
    assert all(np.isfinite(values).all() for values in found.values())
    assert np.isfinite(sharp[long])


def test_damaged_images_have_no_scores_and_are_counted(plan, tmp_path):
    whole = scores(plan)
    shard = write_tar(tmp_path / "shards" / "0.tar", tmp_path / "images")
    packed = plan_of(Store(tmp_path / "packed"), shard.parent)
    packed.make("embeddings")
    content = bytearray(shard.read_bytes())
    start = content.index(b"b-blurred.png") + 512
    assert 2**16 < start < len(content) - 2**16, "the ends of a shard are its identity"
    content[start : start + 4000] = bytes(4000)
    shard.write_bytes(content)
    made = packed.make(IMAGE_SCORES)
    assert made.parts[0].facts["unreadable"] == 1
    sharp = made.column("sharpness")
    assert [value is None for value in sharp] == [False, True, False, False, False, False]
    kept = np.array([0, 2, 3, 4, 5])
    np.testing.assert_allclose(np.array(sharp, float)[kept], whole["sharpness"][kept], rtol=1e-6)
    assert np.isnan(Run.open(packed.store, packed.run).scores("aspect")).sum() == 1


def write_tar(path: Path, folder: Path) -> Path:
    path.parent.mkdir()
    with tarfile.open(path, "w") as tar:
        for file in sorted(folder.iterdir()):
            tar.add(file, file.name)
    return path


def test_missing_images_are_named_unless_they_may_be_gone(plan, tmp_path):
    embeddings = plan.make("embeddings")
    part = embeddings.only_part
    runtime = plan.job("embeddings").runtime
    keys = embeddings.column("key")
    (tmp_path / "images" / keys[2]).unlink()
    sources = plan.job("embeddings").runtime.sources

    def seen(runtime, **how) -> list[str | None]:
        see = lambda entry: None if entry is None else entry.key  # noqa: E731
        return list(map_images(see, embeddings, part, runtime, tmp_path, **how))

    assert seen(runtime) == keys
    (now,) = sources.values()
    runtime = replace(runtime, sources={part: now})
    assert seen(runtime, may_be_gone=True) == [*keys[:2], None, *keys[3:]]
    assert seen(runtime, rows=np.array([1, 4])) == [keys[1], keys[4]]
    with pytest.raises(MissingError, match=f"{keys[2]} is no longer in .*images"):
        seen(runtime)
    with pytest.raises(MissingError, match="are not where they were, or were imported"):
        seen(replace(runtime, sources={}))
