"""Views of images: another run's embeddings by key, and words of a guide."""

import numpy as np
import pytest

from cpp_pipe.stages.contract import Runtime
from cpp_pipe.stages.encoding.part_tables import EmbeddingRows
from cpp_pipe.stages.rows.artifact_rows import gather, views_of
from cpp_pipe.stages.views import Views
from cpp_pipe.store import Artifact, ConfigError, Recipe, Store
from cpp_pipe.store.kinds import EMBEDDINGS

from ..store.stores import model_of


def embeddings(store: Store, parts: dict[str, list[str]], width: int, name: str) -> Artifact:
    """Parts with rows of these keys; each row repeats the number in its key."""
    recipe = Recipe(
        kind=EMBEDDINGS.name, format=EMBEDDINGS.format, stage="test", revision=1,
        config={"name": name}, parts={part: {"shard": part} for part in parts},
    )  # fmt: skip
    draft = store.draft(recipe)
    for part, keys in parts.items():
        rows = EmbeddingRows(shard=part, size=width)
        rows.rows = [{"key": key, "extra": "{}"} for key in keys]
        rows.embeddings = [np.array([[float(key)] * width for key in keys]).reshape(-1, width)]
        draft.make_part(part, lambda scratch, rows=rows: rows.write(scratch, {}, model_of(width)))
    return draft.publish({}, {})


def make(store: Store, own: Artifact, other: Artifact, **runtime) -> Artifact:
    """Views with the embeddings of run `other`."""
    stage, inputs = Views(beside=("other",)), {"embeddings": own, "embeddings/other": other}
    runtime = Runtime(**runtime)
    parts = stage.parts(inputs, runtime)
    draft = store.draft(stage.recipe(parts))
    prepared = stage.prepare(inputs, runtime)
    for part in parts:
        draft.make_part(
            part.name,
            lambda scratch, part=part: stage.make(part, prepared, inputs, runtime, scratch),
        )
    stage.review(list(draft.finished().values()), runtime)
    return draft.publish(inputs, {})


def test_rows_of_another_run_are_matched_by_key(tmp_path):
    store = Store(tmp_path)
    own = embeddings(store, {"a": ["1", "2"], "b": ["3"]}, 2, "own")
    other = embeddings(store, {"x": ["3", "9"], "y": ["2", "8", "1"]}, 3, "other")
    views = make(store, own, other)
    expected = [[1, 1, 1, 1, 1], [2, 2, 2, 2, 2], [3, 3, 3, 3, 3]]
    assert gather(views, "x").tolist() == expected
    assert [tuple(one) for one in views_of(views)] == [(2, 0.5), (3, 0.5)]


def test_a_part_of_the_same_name_is_the_same_shard(tmp_path):
    store = Store(tmp_path)
    parts = {"a": ["1", "2"], "b": ["1", "4"]}
    own, other = embeddings(store, parts, 2, "own"), embeddings(store, parts, 3, "other")
    assert gather(make(store, own, other), "x")[:, 4].tolist() == [1, 2, 1, 4]


def test_a_key_in_several_shards_of_the_other_run_is_refused(tmp_path):
    store = Store(tmp_path)
    own = embeddings(store, {"a": ["1", "2"]}, 2, "own")
    other = embeddings(store, {"x": ["1"], "y": ["1", "2"]}, 3, "other")
    with pytest.raises(ConfigError, match="'1' is in several shards of run 'other'"):
        make(store, own, other)


def test_images_missing_in_the_other_run_are_counted_and_get_its_mean(tmp_path):
    store = Store(tmp_path)
    own = embeddings(store, {"a": ["1", "2", "6"]}, 2, "own")
    other = embeddings(store, {"a": ["1", "6"]}, 2, "other")
    views = make(store, own, other, max_skipped=0.5)
    assert gather(views, "x").tolist() == [[1, 1, 1, 1], [2, 2, 3.5, 3.5], [6, 6, 6, 6]]
    assert views.parts[0].facts["missing"] == {"other": 1}


@pytest.mark.parametrize("there", [["1"], ["7"], []])
def test_too_many_missing_images_are_an_error(tmp_path, there):
    store = Store(tmp_path)
    own = embeddings(store, {"a": ["1", "2", "6"]}, 2, "own")
    other = embeddings(store, {"a": there}, 2, "other")
    with pytest.raises(ConfigError, match=f"no embedding for {3 - (there == ['1'])} of 3 images"):
        make(store, own, other)


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_an_invalid_guide_share_is_refused(share):
    with pytest.raises(ConfigError, match="guide_share"):
        Views(guide_share=share)
