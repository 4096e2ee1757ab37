"""The stage `map` and its command: a point for every row, the same every time."""

import io
import shutil
import tarfile

import numpy as np
import pytest
from PIL import Image

from cpp_pipe import Run
from cpp_pipe.pipeline.commands.options import Common, open_plan
from cpp_pipe.pipeline.serve.open_run import pick_evenly
from cpp_pipe.pipeline.serve.preparation import make_map, prepare
from cpp_pipe.stages.draw_sprites import MAX_POINTS, choose_drawn
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


def test_a_seed_that_a_method_does_not_take_is_refused(store):
    """It ended in a traceback of scikit-learn."""
    for seed in (-1, 2**32):
        assert "--seed" in fail(store, "map", f"--seed={seed}")


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


def test_the_map_draws_every_image_small_unless_forbidden(store):
    ran = succeed(store, "map", "--method", "pca")
    assert "60 small images on 1 sheet" in ran.out.splitlines()
    assert Run.open(store).current("sprites") is not None
    assert "small image" not in succeed(store, "map", "--method", "pca", "--no-sprites").out


def test_a_map_is_made_without_missing_images(tmp_path, digit_shards):
    shards = tmp_path / "shards"
    shutil.copytree(digit_shards, shards)
    store = tmp_path / "artifacts"
    embed(store, shards)
    shutil.rmtree(shards)
    ran = succeed(store, "map", "--method", "pca", "--space", "embeddings")
    assert "map: drawn without small images:" in ran.err
    run = Run.open(store)
    assert run.current("projection") is not None and run.find("sprites") is None


def test_a_damaged_image_is_a_grey_square_and_is_counted(tmp_path):
    # A shard is known by its edges, so that damage in its middle shows only when images are read.
    shard, rng = tmp_path / "noise.tar", np.random.default_rng(0)
    with tarfile.open(shard, "w") as tar:
        for number in range(5):
            encoded = io.BytesIO()
            noise = rng.integers(0, 255, (400, 400, 3), dtype=np.uint8)
            blocks = np.kron(rng.integers(0, 200, (8, 8, 1)), np.ones((50, 50, 3), int))
            Image.fromarray((blocks + noise // 5).astype(np.uint8)).save(encoded, "PNG")
            member = tarfile.TarInfo(f"{number}.png")
            member.size = len(encoded.getvalue())
            tar.addfile(member, io.BytesIO(encoded.getvalue()))
    store = tmp_path / "artifacts"
    embed(store, shard)
    row = Run.open(store).artifact("embeddings").column("offset")[2]
    with shard.open("r+b") as file:
        file.seek(row + 1000)
        file.write(bytes(100_000))
    ran = succeed(store, "map", "--method", "pca", "--space", "embeddings")
    assert "1 image cannot be read and is a grey square" in " ".join(ran.err.split())
    sprites = Run.open(store).artifact("sprites")
    sheet = np.asarray(Image.open(sprites.path(sprites.only_part, "sheet")))
    squares = [sheet[:32, 32 * place : 32 * place + 32] for place in range(6)]
    drawn = [bool(square.std() > 5) for square in squares]
    assert drawn == [True, True, False, True, True, False]


def test_of_many_rows_an_even_sample_is_drawn_and_all_have_points():
    drawn = choose_drawn(1_000_000, 100_000)
    shown = pick_evenly(np.arange(1_000_000), MAX_POINTS)
    assert len(drawn) == 100_000 and (np.diff(drawn) > 0).all() and np.isin(drawn, shown).all()
    assert np.diff(drawn).min() >= 5 and np.diff(drawn).max() <= 15
    assert choose_drawn(7, 100).tolist() == [*range(7)]


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


def test_no_grouping_gets_another_answer_about_the_map(served):
    """Of the grouping `points` the server sent the points, once somebody had asked for those."""
    for path, grouping in (("/api/map/points", "points"), ("/api/map/sprites/rows", "sprites")):
        assert served.get(path).status_code == 200
        assert served.get("/api/map/clusters", grouping=grouping).status_code == 404
