"""Python makes the same versions as the commands, and its objects show themselves in Jupyter."""

import inspect
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cpp_pipe import Run
from cpp_pipe.pipeline.packages import require_package
from cpp_pipe.store import ConfigError, CppPipeError, MissingError, QueryError, ShardError

from ..stages.sources.image_files import write_image
from .cli import DIGITS, SMALL, embed, succeed

WORDS = "digits-words.txt"
MODEL: dict[str, Any] = {"model": DIGITS[1], "pretrained": DIGITS[3]}


@pytest.fixture(scope="module")
def run(tmp_path_factory, digit_shards) -> Run:
    """A run of sixty digits that Python made."""
    folder = tmp_path_factory.mktemp("python") / "artifacts"
    made = Run.create(folder, progress="none")
    made.embed(shards=f"{digit_shards}/*.tar", **MODEL)
    made.train(hidden=32, features=16, batch=64, epochs=2)
    return made.assign(k=6).caption(WORDS)


def test_python_and_the_commands_make_the_same_versions(run, tmp_path, digit_shards):
    store = tmp_path / "artifacts"
    embed(store, digit_shards)
    succeed(store, "train", *SMALL)
    succeed(store, "assign", "--k", "6")
    succeed(store, "caption", "--vocabulary", WORDS)
    theirs = Run.open(store).record.versions
    assert {slot: run.record.versions[slot] for slot in theirs} == theirs
    assert Run.open(store).settings.train == run.settings.train


def test_a_run_that_is_created_again_is_the_same_run(run):
    again = Run.create(run.store, progress="none")
    assert again.record == run.record
    assert again.embed().train().assign().record.versions == run.record.versions


def test_progress_may_be_set_between_two_steps(run, capsys):
    made = Run.create(run.store, progress="none")
    made.train()
    capsys.readouterr()
    made.progress = "json"
    made.train()
    (line,) = capsys.readouterr().err.splitlines()
    assert "nothing to do" in json.loads(line)["message"]


def test_a_hit_stays_the_image_that_was_found_when_others_are_embedded(tmp_path):
    """It showed the image that had its row by then."""
    photos = tmp_path / "photos"
    found = write_image(photos / "m.png", 3)
    made = Run.create(tmp_path / "artifacts", progress="none").embed(images=photos, **MODEL)
    (hit,) = made.search(image=found, space="embeddings", n=1)
    write_image(photos / "a.png", 4)
    made.embed(images=photos)
    assert made.artifact("embeddings").column("key") == ["a.png", "m.png"]
    with Image.open(found) as image:
        assert hit.image().tobytes() == image.convert("RGB").tobytes()
    assert hit.image().tobytes() != made.image(hit.row).tobytes()


def test_what_cannot_be_opened_is_named(run, tmp_path):
    with pytest.raises(MissingError, match=r"there is no store .*nostore: name another"):
        Run.open(tmp_path / "nostore")
    assert not (tmp_path / "nostore").exists()
    with pytest.raises(MissingError, match=r"has no run 'other': name one of its runs \("):
        Run.open(run.store, "other")


@pytest.mark.parametrize(
    ("slot", "known"),
    [
        ("index/foo", "index/features or index/embeddings"),
        ("quantizer", "quantizer/features or quantizer/embeddings"),
        ("captions/foo", "captions"),
        ("duplicates/foo", "duplicates or duplicates/copies"),
    ],
)
def test_a_slot_that_no_run_has_is_refused_with_those_that_there_are(run, slot, known):
    with pytest.raises(ConfigError, match=f"^a run has no slot '{slot}': name {known}$"):
        run.artifact(slot)


def test_a_slot_that_a_run_does_not_hold_yet_names_the_command_that_makes_it(run):
    for slot, command in (("index/features", "index"), ("scores/fine", "score")):
        with pytest.raises(MissingError, match=f"has no {slot} yet: run `cpp-pipe {command} "):
            run.artifact(slot)


def test_settings_are_given_by_table_and_key_and_stay(tmp_path):
    made = Run.create(tmp_path, "a", settings={"train": {"epochs": 3}}, progress="none")
    assert made.settings.train.epochs == 3
    assert Run.open(tmp_path, "a").settings.train.epochs == 3
    with pytest.raises(ConfigError, match=r"unknown key 'epoch'.*did you mean epochs"):
        Run.create(tmp_path, "b", settings={"train": {"epoch": 3}})
    with pytest.raises(ConfigError, match="no table of settings 'training'"):
        Run.create(tmp_path, "b", settings={"training": {}})
    with pytest.raises(ConfigError, match="unknown key 'epoch'"):
        made.train(epoch=3)


@pytest.mark.parametrize(
    "settings", [{"train": 5}, {"epochs": 12}, {"train": {5: 1}}, [("train", {})], "train", 0]
)
def test_settings_of_another_form_are_refused_in_words(tmp_path, settings):
    with pytest.raises(ConfigError, match=r"by table and key, such as \{'train': \{'epochs': 12"):
        Run.create(tmp_path, "a", settings=settings)


def test_a_setting_is_unknown_whatever_its_name(tmp_path):
    """`table` and `self` were names of the arguments that settings were passed beside."""
    made = Run.create(tmp_path, "a", progress="none")
    with pytest.raises(ConfigError, match="unknown key 'table'"):
        made.train(table=1)
    with pytest.raises(ConfigError, match="unknown key 'self'"):
        Run.create(tmp_path, "b", settings={"train": {"self": 1}})


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"workers": 0}, r"--workers \(from Python workers=\) must be a whole number"),
        ({"workers": -2}, "at least 1, got -2"),
        ({"batch_size": 0}, r"--batch-size \(from Python batch_size=\) must be a whole number"),
        ({"batch_size": 2.5}, "at least 1, got 2.5"),
        ({"batch_size": None}, "at least 1, got None"),
    ],
)
def test_counts_that_the_command_refuses_are_refused(tmp_path, flags, message):
    with pytest.raises(ConfigError, match=message):
        Run.create(tmp_path, progress="none").embed(images=tmp_path, **flags)


@pytest.mark.parametrize("names", [[], ()])
def test_an_empty_list_of_inputs_is_refused(run, names):
    """`embed(images=glob(...))` without a match took the images that were named before."""
    for kind in ("images", "shards", "tables"):
        with pytest.raises(ConfigError, match=f"{kind} is an empty list"):
            run.embed(**{kind: names})
    for kind in ("vocabulary", "templates"):
        with pytest.raises(ConfigError, match=f"{kind} is an empty list"):
            run.caption(**{kind: names})


@pytest.mark.parametrize("clusters", [[], (), np.empty(0, int), ""])
def test_a_search_in_no_cluster_is_refused(run, clusters):
    key = run.artifact("embeddings").column("key")[0]
    with pytest.raises(ConfigError, match="cluster"):
        run.search(key=key, cluster=clusters)


def test_a_search_without_a_filter_may_say_so(run):
    """`where=None` was a TypeError."""
    key = run.artifact("embeddings").column("key")[0]
    everywhere = [hit.row for hit in run.search(key=key, n=60)]
    for nothing in (None, ()):
        assert [hit.row for hit in run.search(key=key, n=60, where=nothing)] == everywhere
    assert [hit.row for hit in run.search(key=key, n=60, cluster=None)] == everywhere


def test_an_import_of_nothing_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="name the embeddings to import"):
        Run.create(tmp_path, progress="none").import_embeddings(model="ViT-B-32")


def test_a_config_is_taken_by_its_name(tmp_path):
    made = Run.create(tmp_path, "a", config="reference")
    assert made.settings.train.optimizer == "sgd"


def test_an_existing_run_keeps_its_settings_beside_a_config(tmp_path):
    Run.create(tmp_path, "a", settings={"train": {"epochs": 3}})
    again = Run.create(tmp_path, "a", config="reference")
    assert again.settings.train.epochs == 3 and again.settings.train.optimizer != "sgd"
    with pytest.raises(ConfigError, match="shipped"):
        Run.create(tmp_path, "a", config="nothing")


def test_a_folder_named_like_a_package_is_not_taken_for_it(tmp_path, monkeypatch):
    (tmp_path / "some_folder").mkdir()
    (tmp_path / "half_there.py").write_text("import nothing_of_this_name\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingError, match=r"some_folder is not installed.*only has its name"):
        require_package("some_folder", "load_dataset")
    with pytest.raises(MissingError, match="nothing_of_this_name, which half_there needs, is not"):
        require_package("half_there", "load_dataset")
    with pytest.raises(MissingError, match=r"^absent_name is not installed"):
        require_package("absent_name", "load_dataset")


def test_a_step_without_images_says_what_to_do(tmp_path):
    with pytest.raises(MissingError, match="no embeddings yet"):
        Run.create(tmp_path, progress="none").train()


def test_the_error_for_a_missing_artifact_names_the_step_that_makes_it(run):
    copy = Run.create(run.store, "early", progress="none")
    copy.store.runs.update("early", versions={"embeddings": run.record.versions["embeddings"]})
    early = Run.open(run.store, "early")
    for ask, step in (
        (early.clusters, "assign"),
        (lambda: early.curve, "select-k"),
        (lambda: early.to_numpy("features"), "project"),
        (lambda: early.artifact("captions"), "caption"),
    ):
        with pytest.raises(MissingError, match=rf"yet: run `cpp-pipe {step} --run early --store "):
            ask()


def test_embeddings_made_elsewhere_are_imported(tmp_path):
    x = np.random.default_rng(0).standard_normal((50, 8)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    np.savez(tmp_path / "x.npz", x=x, y=np.arange(50) % 3)
    made = Run.create(tmp_path / "artifacts", progress="none")
    made.import_embeddings(tmp_path / "x.npz", model="ViT-B-32")
    assert np.abs(made.to_numpy() - x).max() < 1e-3
    assert made.assign(k=3).evaluate().classes == 3


def test_an_import_takes_the_share_of_rows_that_may_be_skipped(tmp_path):
    """The error named a flag that the method did not have."""
    x = np.random.default_rng(0).standard_normal((20, 8)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=x, key=np.arange(20) // 2)
    made = Run.create(tmp_path / "artifacts", progress="none")
    with pytest.raises(ShardError, match="raise --max-skipped to accept them"):
        made.import_embeddings(tmp_path / "x.npz", model="ViT-B-32")
    made.import_embeddings(tmp_path / "x.npz", model="ViT-B-32", workers=1, max_skipped=0.5)
    assert made.artifact("embeddings").rows == 10


def test_clusters_are_the_largest_first_and_their_rows_the_surest_first(run):
    clusters = run.clusters()
    sizes = [cluster.size for cluster in clusters]
    assert sizes == sorted(sizes, reverse=True) and sum(sizes) == 60
    assert repr(clusters) == "<6 clusters of 60 images>"
    cluster = run.cluster(clusters[2].number)
    confidence = np.array(run.artifact("assignments").column("confidence"))[cluster.rows]
    assert (np.diff(confidence) <= 0).all() and len(cluster.rows) == cluster.size
    assert cluster.caption == cluster.captions[0].words
    assert cluster.keys(2)[0].endswith(run.artifact("embeddings").column("key")[cluster.rows[0]])
    assert len(cluster.images(3)) == 3
    with pytest.raises(QueryError, match="no image is in cluster 99"):
        run.cluster(99)


def test_a_cluster_does_not_change_after_another_clustering(run):
    copy = Run.create(run.store, "again", progress="none")
    copy.store.runs.update(
        "again", settings=run.settings.tables(), versions=run.record.versions,
        sources=run.record.sources,
    )  # fmt: skip
    copy = Run.open(run.store, "again")
    copy.progress = "none"
    old = copy.clusters()[0]
    rows, keys, shown = old.rows, old.keys(), old._repr_html_()
    copy.assign(k=3)
    assert len(copy.clusters()) == 3
    assert old.rows.tolist() == rows.tolist() and len(old.rows) == old.size
    assert old.keys() == keys and old._repr_html_() == shown


def test_assign_takes_numbers_of_numpy(run):
    again = run.assign(k=np.int64(6))
    assert again.settings.assign.k == 6
    with pytest.raises(ConfigError, match="k must be at least 1, got 0"):
        run.assign(0)
    with pytest.raises(ConfigError, match="k must be"):
        run.assign(k=np.array([2, 2]))


def test_a_list_of_one_number_is_this_number(run):
    """The same clusters were made again, under another version than that of the command."""
    made = run.assign(k=6).record.versions["assignments"]
    for one in ([6], (6,), np.array([6])):
        assert run.assign(k=one).record.versions["assignments"] == made


@pytest.mark.parametrize("slot", ["map", "index", "typo", "quantizer/nothing"])
def test_the_error_for_an_unknown_artifact_names_the_known_ones(run, slot):
    with pytest.raises(ConfigError, match=f"'{slot}' cannot be made.*hierarchy.*index/features"):
        run.make(slot)


def test_search_uses_artifacts_made_since_the_run_was_opened(run):
    key = run.clusters()[0].keys(1)[0]
    before = run.search(key=key, n=3)
    run.index("features")
    after = run.search(key=key, n=3)
    assert [hit.row for hit in before] == [hit.row for hit in after]
    assert all(hit.caption for hit in after)


def test_the_curve_chooses_what_the_command_chooses(run):
    curve = run.select_k(resamples=0)
    assert curve.k == run.artifact("k_curve").facts["chosen"]
    assert curve.k in [point.k for point in curve.points]
    assert re.match(r"<\d+ clusters?, by ", repr(curve))


def test_duplicates_are_rows_with_the_one_to_keep(run):
    groups = run.duplicates(above=0.9)
    assert {"group", "row", "kept", "similarity"} <= set(groups.column_names)
    assert "duplicates" in run.record.versions


def test_a_table_has_a_row_for_each_image(run):
    table = run.to_arrow()
    assert len(table) == 60
    assert table.column("cluster").to_pylist() == run.artifact("assignments").column("cluster")
    assert "embedding" not in table.column_names
    assert "embedding" in run.to_arrow(vectors=True).column_names


def test_features_of_one_part_are_not_copied(run, tmp_path):
    features = run.artifact("features")
    whole = run.to_numpy("features")
    parts = [features.array(part.name, "z") for part in features.parts]
    assert np.array_equal(whole, np.concatenate(parts))
    np.savez(tmp_path / "x.npz", x=run.to_numpy().astype(np.float32))
    one = Run.create(tmp_path / "artifacts", progress="none")
    one.import_embeddings(tmp_path / "x.npz", model="ViT-B-32").make("features")
    assert isinstance(one.to_numpy("features"), np.memmap)


def test_missing_optional_packages_are_named(run, tmp_path, monkeypatch):
    for name, ask in (
        ("pandas", run.to_pandas),
        ("datasets", lambda: run.to_huggingface(tmp_path / "set")),
    ):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(MissingError, match=f"pip install {name}"):
            ask()


def test_decisions_are_made_and_undone_from_python(run):
    number = run.clusters()[0].number
    run.edits.name(number, "my digits")
    table = run.to_arrow(edits="open")
    named = set(table.column("cluster_name").to_pylist())
    assert "my digits" in named
    run.edits.undo()


# What Jupyter shows.


def test_outliers_are_those_that_the_command_lists(run):
    said = json.loads(succeed(run.store.root, "outliers", "-n", "3", "--json").out)["outliers"]
    assert run.outliers(3).to_pylist() == said
    assert run.outliers().num_rows == run.artifact("embeddings").rows
    for n in (0, 1.5, "many"):
        with pytest.raises(ConfigError, match="n must be a whole number from 1"):
            run.outliers(n)


def test_a_score_is_the_one_that_the_command_gives(run):
    run.score("seven", text="the number seven", unlike="the number one")
    version = run.record.versions["scores/seven"]
    words = ("--name", "seven", "--text", "the number seven", "--not", "the number one")
    succeed(run.store.root, "score", *words)
    assert Run.open(run.store).record.versions["scores/seven"] == version
    assert np.isfinite(run.scores("seven")).all()
    assert np.isfinite(run.score().scores("sharpness")).all()
    with pytest.raises(ConfigError, match="name"):
        run.score(text="the number seven")


def test_a_sample_is_the_one_that_the_command_chooses(run):
    words = ("sample", "-n", "5", "--strategy", "diverse,doubtful", "--json")
    keys = json.loads(succeed(run.store.root, *words).out)["keys"]
    rows = run.sample(5, "diverse,doubtful")
    assert run.edits.names_of(rows) == keys
    assert len(run.sample(1000)) == run.artifact("embeddings").rows
    with pytest.raises(ConfigError, match="no image is left to choose from"):
        run.sample(5, where="width > 100000")
    for wrong in ({"n": 0}, {"n": "5"}, {"strategy": "best"}, {"seed": -1}, {"by": "breed"}):
        with pytest.raises(ConfigError):
            run.sample(**wrong)


def test_curated_shards_are_those_that_the_command_writes(run, tmp_path):
    words = ("--cluster", "0,1", "--min-confidence", "0.5", "--out", tmp_path / "command")
    succeed(run.store.root, "curate", *words)
    written = run.curate(tmp_path / "python", cluster=[0, 1], min_confidence=0.5)
    assert written.samples and written.shards
    assert [path.parent for path in written.shards] == [tmp_path / "python"]
    ours, theirs = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
        for name in ("python", "command")
    )
    assert ours == theirs
    with pytest.raises(ConfigError, match="exists already"):
        run.curate(tmp_path / "python", cluster=0)
    for name in (".", "shards.parquet"):
        with pytest.raises(ConfigError, match="folder"):
            run.curate(tmp_path / name if name != "." else ".", cluster=0)
    with pytest.raises(ConfigError, match="cluster is an empty list"):
        run.curate(tmp_path / "none", cluster=[])
    with pytest.raises(ConfigError, match="needs --drop-duplicates"):
        run.curate(tmp_path / "none", above=0.9)
    assert not (tmp_path / "none").exists()


def test_decisions_are_sealed_from_python(run):
    run.edits.tag("first", images=[0])
    assert run.seal("one-tag").to_arrow(edits="one-tag").column("tags")[0].as_py() == ["first"]
    run.edits.tag("second", images=[0])
    with pytest.raises(ConfigError, match="other decisions are sealed as 'one-tag'"):
        run.seal("one-tag")
    tags = run.seal("one-tag", replaces=True).to_arrow(edits="one-tag").column("tags")[0].as_py()
    assert tags == ["first", "second"]


def test_the_page_is_the_one_that_the_command_writes(run, tmp_path):
    written = run.to_html(tmp_path / "python.html", label="cls")
    assert written == str(tmp_path / "python.html")
    succeed(run.store.root, "report", "--label", "cls", "--out", tmp_path / "command.html")
    assert Path(written).read_bytes() == (tmp_path / "command.html").read_bytes()
    assert run.to_html(images=False) == str(run.store.root / "reports" / "default.html")
    with pytest.raises(MissingError, match="breed"):
        run.to_html(label="breed")
    with pytest.raises(ConfigError, match=r"path must end in \.html"):
        run.to_html(tmp_path / "photo.jpg")


def test_a_run_shows_its_counts(run, tmp_path):
    shown = run._repr_html_()
    for words in ("60 embedded, 0 skipped", "digits-clip", "<td", "features"):
        assert words in shown
    assert repr(run).startswith("<run default of 60 images in ")
    assert "none yet" in Run.create(tmp_path)._repr_html_()


def test_a_cluster_shows_its_images(run):
    shown = run.clusters()[0]._repr_html_()
    assert shown.count("data:image/jpeg;base64,") == 1
    assert run.clusters()[0].caption in shown
    assert "<table>" in run.clusters()._repr_html_()


def test_hits_show_their_images(run):
    hits = run.search(key=run.clusters()[0].keys(1)[0], n=4)
    assert hits._repr_html_().count("<img") == 4 and len(hits) == 4


def test_curves_and_figures_show_themselves_and_are_saved(run, tmp_path):
    run.select_k(resamples=0)
    for drawn, name in ((run.curve, "curve.svg"), (run.figure("cosines"), "cosines.pdf")):
        data, metadata = drawn._repr_mimebundle_()
        assert data["image/png"].startswith(b"\x89PNG") and metadata["image/png"]["width"] == 640
        drawn.save(tmp_path / name)
        assert (tmp_path / name).stat().st_size > 1000
    assert repr(run.curve.figure) == "<figure of 4.6 by 3.0 inches: save('figure.pdf') writes it>"
    with pytest.raises(ConfigError, match=r"must end in \.svg, \.pdf, \.png"):
        run.curve.save(tmp_path / "curve.eps")


def test_a_folder_of_images_from_python(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(4):
        Image.new("L", (32, 32), 60 * number).save(folder / f"{number}.png")
    made = Run.create(tmp_path / "artifacts", progress="none").embed(images=folder, **MODEL)
    assert made.artifact("embeddings").rows == 4


def test_help_of_every_public_method_says_what_it_does():
    for name, member in inspect.getmembers(Run):
        if not name.startswith("_") and callable(member):
            assert inspect.getdoc(member), name
    assert "Run.create" in (inspect.getdoc(Run) or "")


# The page.

PAGE = Path(__file__).resolve().parents[2] / "docs" / "python.md"


def test_the_examples_of_the_page_run_from_top_to_bottom(tmp_path, monkeypatch, digit_shards):
    import shutil

    shutil.copytree(digit_shards, tmp_path / "digits")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    assert len(blocks) > 5
    names: dict[str, object] = {}
    for block in blocks:
        try:
            exec(compile(block, str(PAGE), "exec"), names)
        except CppPipeError as error:
            pytest.fail(f"{error}\nin\n{block}")
