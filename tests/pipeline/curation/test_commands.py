"""duplicates and curate as a person types them."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from cpp_pipe import Run, Store

from ...stages.sources.image_files import png
from ..cli import body, call, embed, fail, succeed
from .world import artifact, members, plain_tar, rows_by_key


@pytest.fixture(scope="module")
def store(tmp_path_factory, copy_of_run) -> Path:
    return copy_of_run(tmp_path_factory.mktemp("curate") / "artifacts")


@pytest.fixture
def twins(tmp_path) -> Path:
    """A store of images with three duplicates."""
    content = {f"{n:02d}.png": png(n) for n in range(20)}
    content |= {f"twin-{n:02d}.png": png(n) for n in range(3)}
    embed(tmp_path / "store", plain_tar(tmp_path / "twins.tar", content))
    return tmp_path / "store"


def test_duplicates_lists_groups_and_removes_nothing(twins, tmp_path):
    out, sheet = tmp_path / "groups.parquet", tmp_path / "groups.png"
    flags = ("--above", "0.9999", "--out", out, "--sheet", sheet)
    done = succeed(twins, "duplicates", *flags)
    assert "3 groups of near-duplicates (cosine 0.9999 or more) among 23 images: 3" in done.out
    table = pq.read_table(out)
    assert table.column("key").to_pylist() == ["00", "twin-00", "01", "twin-01", "02", "twin-02"]
    assert artifact(twins, "embeddings").rows == 23
    with Image.open(sheet) as drawn:
        assert drawn.height > 3 * 160


def test_duplicates_as_json_holds_what_the_table_shows(twins):
    report = json.loads(succeed(twins, "duplicates", "--above", "0.9999", "-n", "2", "--json").out)
    assert (report["groups"], report["dropped"], report["largest"], report["rows"]) == (3, 3, 2, 23)
    assert [[row["kept"] for row in group] for group in report["largest_groups"]] == [
        [True, False],
        [True, False],
    ]


def test_curate_drops_duplicates_and_counts_add_up(twins, tmp_path):
    flags = ("--drop-duplicates", "--above", "0.9999")
    done = succeed(twins, "curate", *flags, "--out", tmp_path / "out")
    assert "seen 23 = chosen 20 + 3 near-duplicates of one that stays" in done.out
    assert set(members(tmp_path / "out" / "00000.tar")) == {f"{n:02d}.png" for n in range(20)}


def test_a_dry_run_counts_and_writes_nothing(twins, tmp_path):
    for flags in (("--dry-run",), ("--dry-run", "--out", tmp_path / "out")):
        assert body(succeed(twins, "curate", *flags).out) == ["seen 23 = chosen 23"]
    assert not (tmp_path / "out").exists()
    assert "--dry-run, which only counts" in fail(twins, "curate")


@pytest.mark.parametrize(
    "flags",
    [
        ["--drop-duplicates", "--above", "0.9999", "--min-confidence", "0.01"],
        ["--cluster", "0,1", "--cluster", "2", "--where", "width > 1", "--prefix", "of-"],
        ["--edits", "open", "--samples-per-shard", "7"],
    ],
)
@pytest.mark.parametrize("has_out", [False, True])
def test_the_command_that_a_dry_run_suggests_copies_what_it_counted(
    store, tmp_path, monkeypatch, flags, has_out
):
    folder, own = tmp_path / "work", tmp_path / "artifacts"
    folder.mkdir()
    shutil.copytree(store, own, symlinks=True)
    monkeypatch.chdir(folder)
    succeed(own, "edit", "exclude", "--cluster", "0")
    succeed(own, "duplicates", "--above", "0.9999")
    out = ["--out", "a folder"] if has_out else []
    counted = succeed(own, "curate", *flags, *out, "--dry-run").out
    (step,) = (line for line in counted.splitlines() if line.startswith("next: "))
    words = shlex.split(step.removeprefix("next: cpp-pipe "))
    assert call(None, *words).code == 0, step
    chosen = re.search(r"= chosen (\d+)", counted)
    assert chosen is not None
    copied = {name.partition(".")[0] for name in members(*folder.glob("*/*.tar"))}
    assert len(copied) == int(chosen[1])


def files_of(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(
    ("flags", "step"),
    [
        (("--drop-duplicates",), "duplicates --above"),
        (("--cluster", "0"), "project"),
        (("--caption", "seven"), "project"),
    ],
)
def test_a_dry_run_writes_nothing_into_the_store(store, tmp_path, flags, step):
    fresh = tmp_path / "artifacts"
    shutil.copytree(store, fresh, symlinks=True)
    for slot in ("duplicates", "features"):
        shutil.rmtree(fresh / slot, ignore_errors=True)
    before = files_of(fresh)
    line = fail(fresh, "curate", "--dry-run", *flags)
    assert "a dry run makes nothing" in line and f"run `cpp-pipe {step}" in line
    assert f"--store {fresh}`" in line
    assert files_of(fresh) == before


@pytest.mark.parametrize(
    ("flags", "missing", "message"),
    [
        (
            "--cluster 0",
            ("heads",),
            "heads are needed but not made yet, and a dry run makes nothing: run `cpp-pipe train ",
        ),
        (
            "--cluster 0",
            ("spectrum",),
            "the spectrum is needed but not made yet, and a dry run makes nothing: run `cpp-pipe s",
        ),
        (
            "--caption seven",
            ("words",),
            "words are needed but not made yet, and a dry run makes nothing: run `cpp-pipe caption",
        ),
        (
            "--drop-duplicates --tier identical",
            (),
            "run `cpp-pipe duplicates --tier identical --st",
        ),
        (
            "--drop-duplicates --tier same --above 0.9712345",
            (),
            "run `cpp-pipe duplicates --tier same --above 0.9712345 --store",
        ),
    ],
)
def test_a_dry_run_names_a_command_that_can_be_typed(store, tmp_path, flags, missing, message):
    fresh = tmp_path / "artifacts"
    shutil.copytree(store, fresh, symlinks=True)
    for slot in missing:
        shutil.rmtree(fresh / slot)
    assert message in fail(fresh, "curate", "--dry-run", *flags.split())


@pytest.mark.parametrize(
    ("table", "settings", "steps"),
    [
        ("views", {"guide": "digits-words.txt"}, ["train", "project", "spectrum", "assign"]),
        (
            "assign",
            {"method": "hierarchy"},
            ["train", "project", "spectrum", "hierarchy", "assign"],
        ),
        ("assign", {"k": "auto"}, ["train", "project", "spectrum", "select-k", "assign"]),
    ],
)
def test_the_commands_named_by_dry_runs_make_what_is_needed(
    store, tmp_path, table, settings, steps
):
    fresh = tmp_path / "artifacts"
    shutil.copytree(store, fresh, symlinks=True)
    for slot in ("heads", "features", "spectrum", "assignments"):
        shutil.rmtree(fresh / slot)
    runs = Store(fresh).runs
    changed = Run.open(fresh).settings.override(table, **settings)
    runs.update("default", settings=changed.tables())
    typed = []
    while (done := call(fresh, "curate", "--dry-run", "--cluster", "0")).code:
        command = re.search(r"run `cpp-pipe (.*) --store", done.err)
        assert command is not None and len(typed) < len(steps), done.err
        typed.append(command[1])
        succeed(fresh, *command[1].split())
    assert typed == steps


def test_a_dry_run_beside_another_run_writes_nothing(store, tmp_path, digit_shards):
    fresh = tmp_path / "artifacts"
    shutil.copytree(store, fresh, symlinks=True)
    embed(fresh, digit_shards, more=("--run", "second"))
    runs = Store(fresh).runs
    changed = Run.open(fresh).settings.override("views", beside=["second"])
    runs.update("default", settings=changed.tables())
    before = files_of(fresh)
    assert "run `cpp-pipe train --store" in fail(fresh, "curate", "--dry-run", "--cluster", "0")
    assert files_of(fresh) == before


def test_a_dry_run_with_all_artifacts_counts_and_changes_no_file(store):
    before = files_of(store)
    assert "chosen" in succeed(store, "curate", "--dry-run", "--caption", "*").out
    assert files_of(store) == before


def test_curate_by_cluster_and_confidence_makes_missing_artifacts(store, tmp_path):
    clusters = artifact(store, "assignments").column("cluster")
    confidence = artifact(store, "assignments").column("confidence")
    wanted = sorted(set(clusters))[:2]
    least = sorted(confidence)[len(confidence) // 4]
    numbers = ("--cluster", str(wanted[0]), "--cluster", f"{wanted[1]},{wanted[0]}")
    flags = (*numbers, "--min-confidence", str(least))
    succeed(store, "curate", *flags, "--out", tmp_path / "out", "--samples-per-shard", "5")
    embed(tmp_path / "again", tmp_path / "out")
    keys = artifact(store, "embeddings").column("key")
    expected = {
        key
        for key, cluster, sure in zip(keys, clusters, confidence, strict=True)
        if cluster in wanted and sure >= least
    }
    assert set(rows_by_key(tmp_path / "again")) == expected


def test_curate_by_caption(store, tmp_path):
    succeed(store, "curate", "--caption", "*", "--out", tmp_path / "out")
    assert len(members(*(tmp_path / "out").glob("*.tar"))) == 4 * 60


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (("--cluster", "one"), "must be whole numbers with commas"),
        (("--cluster", ""), "--cluster must be whole numbers with commas"),
        (("--cluster", ","), "--cluster must be whole numbers with commas"),
        (("--above", "0.9"), "needs --drop-duplicates"),
        (("--drop-duplicates", "--above", "2"), "must be above 0 and at most 1, got 2"),
        (("--min-confidence", "7"), "from 0 to 1, got 7"),
    ],
)
def test_contradictory_flags_are_refused(store, tmp_path, flags, line):
    assert line in fail(store, "curate", *flags, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", [("duplicates", "--above", "0.8"), ("outliers",)])
def test_a_sheet_or_a_table_that_cannot_be_written_is_refused(store, tmp_path, command):
    where = tmp_path / "no" / "such" / "folder.png"
    assert "cannot be written" in fail(store, *command, "--sheet", where)
    assert "is a folder" in fail(store, *command, "--out", tmp_path)


def test_outliers_draws_and_lists_the_farthest_images(store, tmp_path):
    sheet = tmp_path / "sheet.png"
    done = succeed(store, "outliers", "-n", "4", "--sheet", sheet)
    report = json.loads(succeed(store, "outliers", "-n", "4", "--json").out)
    listed = [line.split()[2] for line in done.out.splitlines()[1:5]]
    assert listed == [row["key"] for row in report["outliers"]]
    assert report["outliers"][0]["distance"] >= report["quantiles"]["0.99"]
    with Image.open(sheet) as drawn:
        assert drawn.width > 3 * 160


def test_a_sheet_without_duplicates_is_not_drawn_and_the_command_says_so(store, tmp_path):
    sheet = tmp_path / "sheet.png"
    done = succeed(store, "duplicates", "--above", "1", "--sheet", sheet)
    assert done.out.startswith("0 groups of near-duplicates")
    assert "nothing to draw" in done.err
    assert not sheet.exists()


def test_with_nothing_embedded_the_error_says_how_to_begin(tmp_path):
    for command in (("duplicates",), ("outliers",), ("curate", "--out", tmp_path / "out")):
        assert "has no embeddings yet" in fail(tmp_path / "empty", *command)
