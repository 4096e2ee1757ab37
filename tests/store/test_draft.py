"""Drafts: no half-written file is read, and no part is made twice."""

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from cpp_pipe.store import Draft, Product, Store, StoreError
from cpp_pipe.store.kinds import ASSIGNMENTS, FEATURES
from cpp_pipe.store.upkeep import verify

from .stores import (
    MODEL,
    PARTS,
    assignments_table,
    parts_folder,
    publish,
    recipe,
    write_assignments,
    write_features,
    write_full,
)


def test_nothing_is_visible_before_publish(root):
    store = Store(root)
    draft = store.draft(recipe())
    for name in PARTS:
        assert store.find(FEATURES, recipe().version) is None
        draft.make_part(name, write_features)
    assert store.find(FEATURES, recipe().version) is None
    assert store.artifacts() == []
    draft.publish({}, {})
    found = store.find(FEATURES, recipe().version)
    assert found is not None and found.rows == 9


def test_a_published_artifact_reads_back_what_was_written(root):
    artifact = publish(Store(root))
    assert [part.name for part in artifact.parts] == list(PARTS)
    assert artifact.array("b-01", "z").tolist() == [[1, 1]] * 3
    assert artifact.starts == {"a-00": 0, "b-01": 3, "c-02": 6}
    assert artifact.locate(7) == ("c-02", 1)
    assert artifact.facts == {"feature_size": 2, "model": MODEL}
    with pytest.raises(IndexError):
        artifact.locate(9)


def test_a_part_that_fails_leaves_nothing(root):
    draft = Store(root).draft(recipe())

    def fail(scratch):
        np.save(scratch.path("z"), np.ones((3, 2), np.float16))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        draft.make_part("a-00", fail)
    assert draft.finished() == {}
    parts = parts_folder(Store(root), draft)
    assert list(parts.rglob("*")) == []


def test_publishing_without_a_part_names_it(root):
    draft = Store(root).draft(recipe())
    draft.make_part("a-00", write_features)
    with pytest.raises(StoreError, match="without its parts b-01, c-02"):
        draft.publish({}, {})


def test_a_wrong_number_of_rows_is_refused(root):
    draft = Store(root).draft(recipe())
    with pytest.raises(StoreError, match=r"part a-00: a-00\.z\.npy has 4 rows, its part has 3"):
        draft.make_part("a-00", lambda scratch: write_features(scratch, 3, z_rows=4))
    assert draft.finished() == {}


def test_a_wrong_type_of_number_is_refused(root):
    def write(scratch):
        np.save(scratch.path("z"), np.ones((3, 2), np.float32))
        np.save(scratch.path("c"), np.ones((3, 2), np.float16))
        return Product(rows=3)

    draft = Store(root).draft(recipe())
    with pytest.raises(StoreError, match="float32 with 2 axes, the kind declares float16"):
        draft.make_part("a-00", write)


def test_a_missing_file_is_refused(root):
    def write(scratch):
        np.save(scratch.path("z"), np.ones((3, 2), np.float16))
        return Product(rows=3)

    draft = Store(root).draft(recipe())
    with pytest.raises(StoreError, match=r"wrote no a-00\.c\.npy"):
        draft.make_part("a-00", write)


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.drop_columns(["confidence"]),
        lambda table: table.append_column("more", pa.array([1] * table.num_rows)),
        lambda table: table.rename_columns(["key", "group", "confidence", "novelty"]),
        lambda table: table.set_column(1, "cluster", pa.array([1] * table.num_rows, pa.int64())),
    ],
    ids=["a missing column", "an extra column", "another name", "another type"],
)
def test_a_wrong_schema_is_refused(root, change):
    draft = Store(root).draft(recipe(kind=ASSIGNMENTS.name))
    with pytest.raises(StoreError, match="the kind declares"):
        draft.make_part(
            "a-00", lambda scratch: write_assignments(scratch, change(assignments_table()))
        )
    assert draft.finished() == {}
    draft.make_part("a-00", lambda scratch: write_assignments(scratch, assignments_table()))
    assert list(draft.finished()) == ["a-00"]


def test_parts_with_different_shared_facts_are_not_published(root):
    def write(size):
        def write_part(scratch):
            np.save(scratch.path("z"), np.ones((1, size), np.float16))
            np.save(scratch.path("c"), np.ones((1, size), np.float16))
            return Product(rows=1, shared={"feature_size": size, "model": MODEL})

        return write_part

    draft = Store(root).draft(recipe(parts=("a", "b")))
    draft.make_part("a", write(2))
    draft.make_part("b", write(3))
    with pytest.raises(StoreError, match="would mix parts that differ"):
        draft.publish({}, {})


def test_a_part_of_another_version_is_reused(root):
    store = Store(root)
    first = publish(store, recipe(parts=PARTS[:2]))
    draft = store.draft(recipe(parts=PARTS))
    assert sorted(draft.finished()) == list(PARTS[:2])
    assert [file.sha256 for file in draft.finished()["a-00"].files.values()] == [
        file.sha256 for file in first.part_names["a-00"].files.values()
    ]


def test_parts_of_one_recipe_are_found_and_reused(root):
    """Features of two empty shards: a second worker, or the next command, ended in a traceback."""
    store, alike = Store(root), {name: {"embeddings": "of no rows"} for name in PARTS[:2]}
    made = replace(recipe(), parts=alike)
    draft = store.draft(made)
    for name in alike:
        draft.make_part(name, write_features)
    draft = store.draft(made)
    assert sorted(draft.finished()) == list(alike)
    draft.publish({}, {})
    more = replace(made, parts={**alike, "c-02": {"embeddings": "others"}})
    assert sorted(store.draft(more).finished()) == list(alike)


def test_a_reused_part_is_linked_on_a_disk(tmp_path):
    store = Store(tmp_path)
    first = publish(store, recipe(parts=PARTS[:2]))
    draft = store.draft(recipe(parts=PARTS))
    old = first.path("a-00", "z")
    assert os.path.samefile(old, str(parts_folder(store, draft) / old.name))


def test_a_reused_part_is_copied_within_its_bucket(bucket, tmp_path):
    store = Store(bucket)
    publish(store, recipe(parts=PARTS[:2]))
    shutil.rmtree(tmp_path / "cache")
    draft = store.draft(recipe(parts=PARTS))
    assert not (tmp_path / "cache").exists()
    draft.make_part("c-02", write_features)
    assert list(verify(draft.publish({}, {}))) == []


def test_a_part_of_another_recipe_is_not_reused(root):
    store = Store(root)
    publish(store, recipe(config={"gamma": 1.0}))
    assert store.draft(recipe(config={"gamma": 2.0})).finished() == {}


def test_threads_that_finish_at_once_publish_one_manifest(root):
    store = Store(root)
    draft = store.draft(recipe())
    for name in PARTS:
        draft.make_part(name, write_features)
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda i: store.draft(recipe()).publish({}, {"by": i}), range(8)))
    assert len({json.dumps(dict(artifact.manifest.made_by)) for artifact in made}) == 1


def test_a_claimed_part_is_not_made_by_another(root):
    draft = Store(root).draft(recipe())
    with draft.claim("a-00", wait=False) as mine:
        assert mine
        with draft.claim("a-00", wait=False) as theirs:
            assert not theirs
        with draft.claim("b-01", wait=False) as other:
            assert other
    with draft.claim("a-00", wait=False) as free_again:
        assert free_again


def test_a_part_that_another_is_making_is_not_adopted(root):
    """Its maker would replace published files, and the manifest would have other digests."""
    store = Store(root)
    late = store.draft(recipe(parts=PARTS[:2]))

    def write(scratch):
        publish(store, recipe(parts=PARTS[:1]))
        assert store.draft(recipe(parts=PARTS[:2])).finished() == {}
        return write_full(scratch, 0)

    with late.claim("a-00", wait=False):
        late.make_part("a-00", write)
    late.make_part("b-01", write_features)
    assert list(verify(late.publish({}, {}))) == []


def test_a_part_with_a_damaged_file_is_made_again(tmp_path, caplog):
    """A damaged file of the same size was linked into every later version."""
    store = Store(tmp_path)
    first = publish(store, recipe(parts=PARTS[:1]))
    path = tmp_path / "features" / first.version / "parts" / "a-00.z.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    draft = store.draft(recipe(parts=PARTS[:2]))
    assert draft.finished() == {}
    assert f"{path} is damaged, so its part is made again" in caplog.text
    for name in PARTS[:2]:
        draft.make_part(name, write_features)
    assert list(verify(draft.publish({}, {}))) == []


def test_a_part_that_was_just_made_is_not_adopted(root):
    """Somebody made it between the search for parts of other versions and their adoption."""
    store = Store(root)
    publish(store, recipe(parts=PARTS[:1]))
    draft = Draft(store.folder(FEATURES, recipe().version), FEATURES, recipe())

    def others():
        yield store.folder(FEATURES, recipe(parts=PARTS[:1]).version)
        draft.make_part("a-00", lambda scratch: write_features(scratch, 5))

    assert draft.adopt(others()) == 0
    assert draft.finished()["a-00"].rows == 5
