"""The stage `map` and its command: a place for every row, the same every time."""

import numpy as np
import pytest

from cpp_pipe import Run
from cpp_pipe.pipeline.commands.options import Common, open_plan
from cpp_pipe.pipeline.serve.preparation import make_map, prepare
from cpp_pipe.stages.map import Map
from cpp_pipe.store import ConfigError, Store
from cpp_pipe.store.upkeep import verify

from ..cli import SMALL, embed, fail, succeed
from .serving import serve


@pytest.fixture(scope="module")
def store(tmp_path_factory, digit_shards):
    folder = tmp_path_factory.mktemp("map") / "artifacts"
    embed(folder, digit_shards)
    succeed(folder, "train", *SMALL)
    return folder


def places(store) -> np.ndarray:
    found = Run.open(store).artifact("projection")
    return np.column_stack([found.column("x"), found.column("y")])


@pytest.mark.parametrize("method", ["tsne", "pca"])
def test_every_row_has_a_place_and_the_same_again(store, method):
    done = succeed(store, "map", "--method", method)
    assert done.out == f"60 rows in the plane, fitted on 60 by {method}\n"
    xy = places(store)
    assert xy.shape == (60, 2) and np.isfinite(xy).all() and np.abs(xy).max() == 1
    found = Run.open(store).artifact("projection")
    assert list(verify(found)) == []
    assert "is there already" in succeed(store, "map", "--method", method).err


def test_the_same_work_elsewhere_gives_the_same_bytes(store, tmp_path):
    succeed(store, "map")
    before = Run.open(store).artifact("projection")
    inputs = {"features": Run.open(store).artifact("features")}
    stage, runtime = Map(), open_plan(Common(store=str(store))).runtime
    (part,) = stage.parts(inputs, runtime)
    again = Store(tmp_path).draft(stage.recipe((part,)))
    again.make_part(part.name, lambda one: stage.make(part, None, inputs, runtime, one))
    made = again.publish(inputs, {})
    assert (made.version, made.content) == (before.version, before.content)


def test_rows_that_were_not_fitted_lie_among_those_that_were(store):
    succeed(store, "map", "--method", "tsne", "--rows", "40")
    assert Run.open(store).artifact("projection").facts["fitted"] == 40
    assert np.abs(places(store)).max() <= 1


def test_raw_embeddings_have_a_map_too(store):
    succeed(store, "map", "--method", "pca", "--space", "embeddings")
    assert set(Run.open(store).artifact("projection").manifest.inputs) == {"embeddings"}


def test_what_is_not_allowed_is_said(store):
    assert "tsne, umap, pca are" in fail(store, "map", "--method", "magic")
    assert "features, embeddings are" in fail(store, "map", "--space", "pixels")
    with pytest.raises(ConfigError, match="2 or more"):
        Map(rows=1)


def test_new_features_want_a_new_map(store, digit_shards):
    succeed(store, "map", "--method", "pca")
    succeed(store, "train", *SMALL, "--set", "train.start=principal")
    succeed(store, "project")
    run = Run.open(store)
    assert run.find("projection") is not None and run.current("projection") is None
    plan = open_plan(Common(store=str(store), device="cpu"))
    make_map(plan, Map(method="pca"), asked_by="serve")
    assert Run.open(store).current("projection") is not None


def test_the_same_features_made_in_another_way_keep_their_map(store, digit_shards):
    # Steps of no length: heads differ by how their trunk was drawn, which no feature hears of.
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


def test_serve_makes_what_is_missing_and_names_clusters_that_changed(tmp_path, digit_shards):
    store = tmp_path / "artifacts"
    embed(store, digit_shards)
    succeed(store, "train", *SMALL)
    succeed(store, "spectrum", "--k-max", "12")
    succeed(store, "assign", "--k", "4")
    succeed(store, "caption", "--vocabulary", "digits-words.txt")
    succeed(store, "assign", "--k", "3")
    assert Run.open(store).current("captions") is None
    said: list[str] = []
    plan = open_plan(Common(store=str(store), device="cpu"))
    prepare(type(plan)(plan.store, plan.run, plan.settings, plan.runtime, said.append))
    run = Run.open(store)
    for slot in ("captions", "hierarchy", "assignments/levels", "index/features"):
        assert run.current(slot) is not None, slot
    assert any("needed by serve" in line for line in said)
    with serve(store) as found:
        told = found.json("/api/run")
        assert told["has_captions"] and told["tree"]["has_rows"] and not told["has_map"]
        assert [one["command"] for one in told["absent"]] == ["cpp-pipe select-k", "cpp-pipe map"]
        assert found.get("/api/map").status_code == 404
