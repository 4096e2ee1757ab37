"""Commands, page, report and Python report every artifact that is out of date."""

import json
import shutil
from pathlib import Path

import pytest

from cpp_pipe import Run
from cpp_pipe.pipeline.report.reader import read_contents
from cpp_pipe.pipeline.run_slots import RunSlots
from cpp_pipe.pipeline.serve.facts import describe_run
from cpp_pipe.pipeline.serve.open_run import OpenRun
from cpp_pipe.store import MissingError, QueryError, Store

from ..stages.shards import write_shards
from .cli import SMALL, call, embed, succeed

BY_FEATURES = {"features", "index/features", "projection"}
BY_SPECTRUM = {"k_curve", "hierarchy", "assignments", "assignments/levels", "captions"}

CHANGES: dict[str, tuple[tuple[str, ...], set[str]]] = {
    "another k": (("assign", "--k", "4"), {"captions"}),
    "another training": (
        ("train", *SMALL, "--set", "train.start=principal"),
        {"spectrum"} | BY_FEATURES | BY_SPECTRUM,
    ),
    "other eigenvectors": (("spectrum", "--k-max", "12"), BY_SPECTRUM),
    "another hierarchy": (("hierarchy", "--finest", "4"), {"assignments/levels"}),
    "another vocabulary": (("caption", "--vocabulary", "coco", "--rule", "vote"), set()),
    "more images": (
        ("embed", "MORE"),
        {
            "index/embeddings",
            "duplicates",
            "assignments",
            "assignments/levels",
            "captions",
            "sprites",
            "scores/image",
            "scores/zero",
        }
        | BY_FEATURES,
    ),
}
"""What somebody does, and the slots that are out of date then."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory, copy_of_run) -> Path:
    """A store whose run holds everything."""
    folder = tmp_path_factory.mktemp("whole")
    store = copy_of_run(folder / "artifacts")
    write_shards(folder / "more", shards=1, size=20, first=300)
    for words in (
        ("select-k", "--grid", "2,5"), ("hierarchy", "--finest", "6"), ("index",),
        ("map", "--method", "pca"), ("duplicates", "--above", "0.99"),
        ("score",), ("score", "--name", "zero", "--text", "zero"),
    ):  # fmt: skip
        succeed(store, *words)
    from cpp_pipe.pipeline.commands.options import Common, open_plan
    from cpp_pipe.pipeline.serve.preparation import prepare

    prepare(open_plan(Common(store=str(store))))
    return store


@pytest.fixture(params=CHANGES)
def changed(request, whole, tmp_path, digit_shards) -> tuple[Path, set[str]]:
    """A copy of the store after a change, and the slots that are out of date in it."""
    words, stale = CHANGES[request.param]
    store = tmp_path / "artifacts"
    shutil.copytree(whole, store, symlinks=True)
    if words == ("embed", "MORE"):
        embed(store, digit_shards, whole.parent / "more")
    else:
        succeed(store, *words)
    return store, stale


def test_everything_is_current_if_nothing_changed(whole):
    run = Run.open(whole)
    assert run.slots.stale() == []
    assert {"captions", "k_curve", "projection", "duplicates", "index/features"} <= set(
        run.slots.names
    )


def test_commands_page_report_and_python_name_what_is_out_of_date(changed):
    store, stale = changed
    run = Run.open(store)
    assert set(run.slots.stale()) == stale

    # status: every slot in JSON, and a command that makes each again in the text.
    listed = json.loads(succeed(store, "status", "--json").out)["default"]
    assert {row["slot"] for row in listed if row["state"].startswith("out of date: run")} == stale
    text = succeed(store, "status").out
    assert text.count("out of date: run `cpp-pipe") == len(run.slots.last_stale())
    if "captions" in stale:
        assert "next: cpp-pipe report" not in text
    assert text.count(f"--store {store}`") == len(run.slots.last_stale())

    # The page and the report.
    nouns = {
        "captions": "captions",
        "k_curve": "the curve of coding lengths",
        "assignments/levels": "the hierarchy, to move along",
        "projection": "the map",
    }
    if "assignments" in stale:
        with pytest.raises(MissingError, match="clusters are out of date: run `cpp-pipe assign"):
            OpenRun(run)
    else:
        opened = OpenRun(run)
        page = describe_run(opened)
        opened.close()
        assert {absent.reason for absent in page.absent} == {
            f"Out of date: {noun}" for slot, noun in nouns.items() if slot in stale
        }
        assert page.has_captions == ("captions" not in stale)
        assert ("captions" in read_contents(run).absences) == ("captions" in stale)

    # Python.
    run, lines = Run.open(store), []
    run.report = lines.append
    if "features" in stale:
        with pytest.raises(MissingError, match="features are out of date: run `cpp-pipe project"):
            run.search(key=run.artifact("embeddings").column("key")[0])
    elif "index/features" in stale:
        with pytest.raises(QueryError, match="index of features is out of date"):
            run.search(key=run.artifact("embeddings").column("key")[0])
    else:
        hits = run.search(key=run.artifact("embeddings").column("key")[0])
        assert all((hit.caption is None) == ("captions" in stale) for hit in hits)
        names = {"assignments": "clusters", "captions": "captions"}
        assert [line.split()[0] for line in lines] == [
            noun for slot, noun in names.items() if slot in stale
        ]


@pytest.mark.parametrize("command", ["search", "export", "clusters", "outliers", "report"])
def test_every_command_reports_what_it_leaves_out_as_out_of_date(changed, tmp_path, command):
    store, _ = changed
    flags = {
        "search": ("--text", "seven"),
        "export": ("parquet", "--out", tmp_path / "out.parquet"),
        "report": ("--no-pictures",),
    }.get(command, ())
    done = succeed(store, command, *flags)
    stale = set(Run.open(store).slots.stale())  # a command may have made what it needs
    for slot, sentence in (
        ("captions", "captions are out of date: run `cpp-pipe caption"),
        ("assignments", "clusters are out of date: run `cpp-pipe assign"),
    ):
        assert (f"{sentence} --store {store}`" in done.err) == (slot in stale), done.err


def test_the_named_command_makes_it_current_again(changed):
    store, _ = changed
    text = ""
    for _ in range(12):
        slots = RunSlots(Store(store), Store(store).runs.read("default"))
        if not slots.last_stale():
            return
        text = next(
            line for line in succeed(store, "status").out.splitlines() if "out of date: run" in line
        )
        words = text.partition("`cpp-pipe ")[2].rstrip("`").split()
        if words[0] == "serve":  # which does not end
            from cpp_pipe.pipeline.commands.options import Common, open_plan
            from cpp_pipe.pipeline.serve.preparation import prepare

            prepare(open_plan(Common(store=str(store))))
        else:
            done = call(None, *words)
            assert done.code == 0, done.err
    raise AssertionError(f"still out of date: {text}")
