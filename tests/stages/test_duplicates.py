"""The stage that finds near-duplicates: which image of a group is kept, and its contract."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from webdataset.writer import TarWriter

from cpp_pipe.pipeline.curation.near_duplicates import make_duplicates
from cpp_pipe.pipeline.making.plan import Plan
from cpp_pipe.stages.algorithms.duplicates import cells, large_sets
from cpp_pipe.stages.duplicates import THRESHOLD, Duplicates, default_threshold
from cpp_pipe.stages.rows.artifact_rows import gather
from cpp_pipe.stages.rows.random_rows import random_rows
from cpp_pipe.stages.sources.digits import digit_halves, digit_image
from cpp_pipe.store import ConfigError, Store

from .world import plan_of

ORIGINALS = 12
ABOVE = 0.99


def encoded(image: Image.Image, form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form)
    return buffer.getvalue()


def write(folder: Path) -> Path:
    """A shard of digits; each odd one also as a larger copy and as a copy encoded again."""
    folder.mkdir(parents=True)
    with TarWriter(str(folder / "000.tar")) as tar:
        for number in range(ORIGINALS):
            image = digit_image(int(digit_halves()[1][number]))
            tar.write({"__key__": f"{number:02d}", "png": encoded(image)})
            if number % 2:
                large = image.resize((128, 128), Image.Resampling.NEAREST)
                tar.write({"__key__": f"{number:02d}-large", "png": encoded(large)})
                tar.write({"__key__": f"{number:02d}-again", "webp": encoded(image, "WEBP")})
    return folder


@pytest.fixture(scope="module")
def plan(tmp_path_factory) -> Plan:
    folder = tmp_path_factory.mktemp("duplicates")
    return plan_of(Store(folder / "store"), write(folder / "shards"))


def groups(found) -> dict[str, dict[str, float]]:
    """The similarities of the other images of each group, by the kept key."""
    rows = found.table(found.only_part).to_pylist()
    kept = {row["group"]: row["key"] for row in rows if row["kept"]}
    similarities: dict[str, dict[str, float]] = {key: {} for key in kept.values()}
    for row in rows:
        if not row["kept"]:
            similarities[kept[row["group"]]][row["key"]] = row["similarity"]
    return similarities


def test_the_largest_image_of_a_group_is_kept(plan):
    found = groups(make_duplicates(plan, ABOVE))
    assert set(found) >= {f"{number:02d}-large" for number in range(1, ORIGINALS, 2)}
    for number in range(1, ORIGINALS, 2):
        others = found[f"{number:02d}-large"]
        assert {f"{number:02d}", f"{number:02d}-again"} <= set(others)
        assert min(others.values()) >= ABOVE


def test_rows_match_the_embeddings_and_the_kept_row_comes_first(plan):
    found = make_duplicates(plan, ABOVE)
    embeddings = plan.make("embeddings", asked_by="test")
    keys, table = embeddings.column("key"), found.table(found.only_part).to_pylist()
    assert [keys[row["row"]] for row in table] == [row["key"] for row in table]
    assert len({row["row"] for row in table}) == len(table) == found.rows
    x = embeddings.embeddings(embeddings.parts[0].name).astype(np.float32)
    leader = {}
    for row in table:
        assert row["kept"] == (row["group"] not in leader)
        leader.setdefault(row["group"], row["row"])
        own, kept = x[row["row"]], x[leader[row["group"]]]
        cosine = float(own @ kept / np.linalg.norm(own) / np.linalg.norm(kept))
        assert row["similarity"] == pytest.approx(cosine, abs=1e-5)
    assert found.facts["groups"] == len(leader)
    assert found.facts["dropped"] == len(table) - len(leader)
    assert found.facts["rows_in_all"] == embeddings.rows


def test_the_first_key_is_kept_of_equally_large_images(tmp_path):
    image = encoded(digit_image(3))
    (tmp_path / "shards").mkdir()
    with TarWriter(str(tmp_path / "shards" / "000.tar")) as tar:
        for key in ("c", "a", "b"):
            tar.write({"__key__": key, "png": image})
    found = make_duplicates(plan_of(Store(tmp_path / "store"), tmp_path / "shards"), 1.0)
    assert groups(found) == {"a": {"b": pytest.approx(1), "c": pytest.approx(1)}}


def test_a_second_run_is_idle_and_another_threshold_is_another_version(plan):
    first = make_duplicates(plan, ABOVE)
    assert make_duplicates(plan, ABOVE).version == first.version
    assert make_duplicates(plan, 0.5).version != first.version
    assert make_duplicates(plan, 0.5).facts["dropped"] > first.facts["dropped"]


def test_the_same_images_elsewhere_give_the_same_bytes(plan, tmp_path):
    elsewhere = plan_of(Store(tmp_path / "store"), write(tmp_path / "moved"))
    made = make_duplicates(elsewhere, ABOVE)
    assert made.content == make_duplicates(plan, ABOVE).content


def test_a_large_set_gets_the_same_groups_and_a_recall(plan, tmp_path, monkeypatch):
    small = make_duplicates(plan, ABOVE)
    assert "recall" not in small.facts
    monkeypatch.setattr(large_sets, "ALL_PAIRS", 10)
    monkeypatch.setattr(large_sets, "_RUN", 10)
    monkeypatch.setattr(cells, "CELL_ROWS", 8)
    made = [
        make_duplicates(plan_of(Store(tmp_path / name), write(tmp_path / name / "shards")), ABOVE)
        for name in ("a", "b")
    ]
    assert groups(made[0]) == {
        key: pytest.approx(others, abs=1e-6) for key, others in groups(small).items()
    }
    assert made[0].facts["recall"] == 1
    assert made[0].facts["recall_pairs"] >= ORIGINALS
    assert made[0].content == made[1].content
    assert list(made[0].folder.rglob("*.npy")) == []


def test_rows_are_read_in_any_order(plan, tmp_path):
    embeddings = plan.make("embeddings", asked_by="test")
    with random_rows(embeddings, tmp_path) as read:
        for rows in ([3, 3, 0], [embeddings.rows - 1], []):
            expected = gather(embeddings)[np.array(rows, np.int64)]
            np.testing.assert_array_equal(read(np.array(rows, np.int64)), expected)


def test_the_default_threshold_depends_on_the_model(plan):
    found = make_duplicates(plan, None)
    assert found.facts["threshold"] == default_threshold({"model": "digits-clip"})
    assert default_threshold({"model": "a model that nobody measured"}) == THRESHOLD


def test_without_duplicates_the_table_is_empty(tmp_path):
    (tmp_path / "shards").mkdir()
    with TarWriter(str(tmp_path / "shards" / "000.tar")) as tar:
        tar.write({"__key__": "one", "png": encoded(digit_image(3))})
        mirrored = ImageOps.mirror(digit_image(4))
        tar.write({"__key__": "two", "png": encoded(mirrored)})
    found = make_duplicates(plan_of(Store(tmp_path / "store"), tmp_path / "shards"), 1.0)
    assert found.rows == found.facts["groups"] == found.facts["largest"] == 0


@pytest.mark.parametrize("threshold", [0.0, -0.5, 1.01])
def test_an_impossible_threshold_is_refused(threshold):
    with pytest.raises(ConfigError, match="duplicates: the threshold must be above 0"):
        Duplicates(threshold=threshold)
