"""The stage `map` and its command: a point for every row, the same every time."""

import numpy as np
import pytest

from cpp_pipe import Run
from cpp_pipe.pipeline.commands.options import Common, open_plan
from cpp_pipe.pipeline.serve.preparation import make_map, prepare
from cpp_pipe.stages.map import Map
from cpp_pipe.store import ConfigError, Store
from cpp_pipe.store.upkeep import verify

from ..cli import SMALL, embed, fail, succeed
from .server import serve


@pytest.fixture(scope="module")
def store(tmp_path_factory, digit_shards):
    folder = tmp_path_factory.mktemp("map") / "artifacts"
    embed(folder, digit_shards)
    succeed(folder, "train", *SMALL)
    return folder


def points(store) -> np.ndarray:
    projection = Run.open(store).artifact("projection")
    return np.column_stack([projection.column("x"), projection.column("y")])


@pytest.mark.parametrize("method", ["tsne", "pca"])
def test_every_row_has_a_point_and_a_second_run_does_nothing(store, method):
    ran = succeed(store, "map", "--method", method)
    assert ran.out.splitlines()[0] == f"60 rows in the plane, fitted on 60 by {method}"
    xy = points(store)
    assert xy.shape == (60, 2) and np.isfinite(xy).all() and np.abs(xy).max() == 1
    assert list(verify(Run.open(store).artifact("projection"))) == []
    assert "is there already" in succeed(store, "map", "--method", method).err


def test_the_same_map_in_another_store_has_the_same_bytes(store, tmp_path):
    succeed(store, "map")
    before = Run.open(store).artifact("projection")
    inputs = {"features": Run.open(store).artifact("features")}
    stage, runtime = Map(), open_plan(Common(store=str(store))).runtime
    (part,) = stage.parts(inputs, runtime)
    again = Store(tmp_path).draft(stage.recipe((part,)))
    again.make_part(part.name, lambda scratch: stage.make(part, None, inputs, runtime, scratch))
    made = again.publish(inputs, {})
    assert (made.version, made.content) == (before.version, before.content)


def test_rows_that_were_not_fitted_lie_within_the_map(store):
    succeed(store, "map", "--method", "tsne", "--rows", "40")
    assert Run.open(store).artifact("projection").facts["fitted"] == 40
    assert np.abs(points(store)).max() <= 1


def test_the_map_may_be_of_raw_embeddings(store):
    succeed(store, "map", "--method", "pca", "--space", "embeddings")
    assert set(Run.open(store).artifact("projection").manifest.inputs) == {"embeddings"}


def test_invalid_settings_are_refused(store):
    assert "must be one of tsne, umap, pca" in fail(store, "map", "--method", "magic")
    assert "must be one of features, embeddings" in fail(store, "map", "--space", "pixels")
    with pytest.raises(ConfigError, match="must be at least 2"):
        Map(rows=1)


def test_new_features_need_a_new_map(store, digit_shards):
    succeed(store, "map", "--method", "pca")
    succeed(store, "train", *SMALL, "--set", "train.start=principal")
    succeed(store, "project")
    run = Run.open(store)
    assert run.find("projection") is not None and run.current("projection") is None
    plan = open_plan(Common(store=str(store), device="cpu"))
    make_map(plan, Map(method="pca"), asked_by="serve")
    assert Run.open(store).current("projection") is not None


def test_equal_features_of_other_heads_keep_their_map(store, digit_shards):
    # Without learning, heads differ only in the random trunk, which leaves the features equal.
    flags = [*SMALL, "--lr", "1e-30", "--set", "train.lr_cluster=1e-30"]
    succeed(store, "train", *flags)
    succeed(store, "map", "--method", "pca")
    features = Run.open(store).artifact("features")
    succeed(store, "train", *flags, "--set", "train.seed=1")
    succeed(store, "project")
    run = Run.open(store)
    assert run.artifact("features").version != features.version
    assert run.artifact("features").content == features.content
    assert run.current("projection") is not None


def test_serve_makes_what_is_missing_and_captions_changed_clusters(tmp_path, digit_shards):
    store = tmp_path / "artifacts"
    embed(store, digit_shards)
    succeed(store, "train", *SMALL)
    succeed(store, "spectrum", "--k-max", "12")
    succeed(store, "assign", "--k", "4")
    succeed(store, "caption", "--vocabulary", "digits-words.txt")
    succeed(store, "assign", "--k", "3")
    assert Run.open(store).current("captions") is None
    lines: list[str] = []
    plan = open_plan(Common(store=str(store), device="cpu"))
    prepare(type(plan)(plan.store, plan.run, plan.settings, plan.runtime, lines.append))
    run = Run.open(store)
    for slot in ("captions", "hierarchy", "assignments/levels", "index/features"):
        assert run.current(slot) is not None, slot
    assert any("needed by serve" in line for line in lines)
    with serve(store) as served:
        facts = served.json("/api/run")
        assert facts["has_captions"] and facts["tree"]["has_rows"] and not facts["has_map"]
        commands = [absent["command"] for absent in facts["absent"]]
        assert commands == [f"cpp-pipe {step} --store STORE" for step in ("select-k", "map")]
        assert served.get("/api/map").status_code == 404
