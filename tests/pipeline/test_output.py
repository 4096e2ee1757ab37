"""The output of commands: tables that fit, JSON alone on stdout, and the next command."""

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from cpp_pipe.pipeline.commands.options import Common, find_run
from cpp_pipe.pipeline.commands.output import Column, command_line, cut_middle, print_table
from cpp_pipe.store import ConfigError, Store

from ..stages.sources.image_files import png
from .cli import SMALL, body, embed, fail, succeed
from .curation.world import plain_tar

LONG = "a-very-long-folder-name/" * 6
"""What stands in front of a key that is wider than a terminal."""


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    """A store with clusters and captions, keys of 150 characters, twins and two broken images."""
    folder = tmp_path_factory.mktemp("printed")
    content = {f"{LONG}{n:02d}.png": png(n) for n in range(30)}
    content |= {f"{LONG}twin-{n}.png": png(n) for n in range(2)}
    content |= {f"{LONG}broken.png": b"\x89PNG\r\n\x1a\n and no more", "page.jpg": b"<html>"}
    store = folder / "my store"
    embed(store, plain_tar(folder / "long.tar", content), more=("--max-skipped", "0.2"))
    succeed(store, "train", *SMALL)
    succeed(store, "assign", "--k", "4")
    succeed(store, "caption", "--vocabulary", "digits-words.txt")
    succeed(store, "hierarchy", "--finest", "5")
    return store


# Tables.


@pytest.mark.parametrize(
    "words",
    [
        ("status",),
        ("clusters",),
        ("skipped",),
        ("search", "--text", "seven"),
        ("duplicates", "--above", "0.99"),
        ("outliers",),
    ],
)
def test_tables_fit_80_columns(store, words, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = body(succeed(store, *words).out)
    assert len(lines) > 2
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    "words",
    [("skipped",), ("search", "--text", "seven", "-n", "40"), ("duplicates", "--above", "0.99")],
)
def test_keys_in_a_pipe_are_not_cut(store, words, monkeypatch):
    monkeypatch.setenv("COLUMNS", "")
    lines = body(succeed(store, *words).out)
    assert any(LONG in line for line in lines) and not any("…" in line for line in lines)


def test_json_does_not_cut_names_and_is_alone_on_stdout(store):
    done = succeed(store, "search", "--text", "seven", "-n", "40", "--json")
    assert any(hit["key"].startswith(LONG) for hit in json.loads(done.out))
    assert "next: cpp-pipe search --key" in done.err


@pytest.mark.parametrize(
    "words", ["status", "clusters", "skipped", "duplicates", "outliers", "eval"]
)
def test_json_of_all_commands_has_one_indentation(store, words, tmp_path):
    labels = tmp_path / "labels.csv"
    labels.write_text("key,label\n" + "".join(f"{LONG}{n:02d},{n % 2}\n" for n in range(30)))
    flags = ("--labels", labels) if words == "eval" else ()
    out = succeed(store, words, "--json", *flags).out
    assert out == json.dumps(json.loads(out), indent=1) + "\n"


def test_a_name_is_cut_in_the_middle():
    assert cut_middle("abcdefghij", 10) == "abcdefghij"
    assert cut_middle("abcdefghij", 6) == "abc…ij"
    assert [len(cut_middle("abcdefghij", width)) for width in range(1, 12)] == [
        *range(1, 11),
        10,
    ]


def test_the_widest_names_are_cut_first_and_numbers_never(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    columns = [Column("n", is_right=True), Column("key", is_cut=True), Column("words", is_cut=True)]
    print_table(columns, [("1,000,000", "k" * 60, "short"), ("2", "k", "x" * 10)])
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split() == ["n", "key", "words"]
    assert len(first) <= 40 and first.startswith("1,000,000  k") and first.endswith("  short")
    assert "…" in first and second.split() == ["2", "k", "x" * 10]


# What comes next.


def test_the_next_command_can_be_typed_as_printed(store, monkeypatch):
    common = Common(store=str(store), run="my-run")
    line = command_line(common, "search", "--text", "a red car")
    assert line == f"cpp-pipe search --text 'a red car' --run my-run --store '{store}'"
    assert shlex.split(line)[-1] == str(store)
    assert command_line(Common(), "serve") == "cpp-pipe serve"
    assert command_line(Common(run="default"), "serve") == "cpp-pipe serve"
    monkeypatch.setenv("CPP_PIPE_STORE", str(store))
    assert command_line(replace(common, run=None), "serve") == "cpp-pipe serve"
    assert command_line(Common(), "serve") == "cpp-pipe serve --store artifacts"


@pytest.mark.parametrize(
    ("words", "step"),
    [
        (("train",), "select-k"),
        (("project",), "select-k"),
        (("spectrum",), "select-k"),
        (("select-k",), "assign"),
        (("hierarchy",), "assign --level"),
        (("assign", "--k", "4"), "caption"),
        (("caption",), "report"),
        (("clusters",), "curate --cluster"),
        (("index",), "search"),
        (("search", "--text", "seven"), "search --key"),
        (("duplicates", "--above", "0.99"), "curate --drop-duplicates"),
        (("outliers",), "outliers"),
        (("status",), "report"),
        (("skipped",), "status"),
        (("lineage", "captions"), "status"),
        (("verify",), "status"),
        (("gc",), "status"),
        (("map", "--method", "pca"), "serve"),
    ],
)
def test_every_command_prints_the_next_command_for_its_store(store, words, step):
    lines = succeed(store, *words).out.splitlines()
    first = next(line for line in lines if line.startswith("next: "))
    assert first.startswith(f"next: cpp-pipe {step}")
    assert first.endswith(f"--store '{store}'") and "--run" not in first


@pytest.mark.parametrize(
    ("words", "step"),
    [
        (("clusters",), "curate --cluster"),
        (("search", "--text", "seven"), "search --key"),
        (("search", "--text", "seven", "--sheet", "hits.png"), "curate --cluster"),
        (("sample", "-n", "5"), "sample -n 5"),
    ],
)
def test_the_next_command_keeps_the_filters_of_images(store, tmp_path, monkeypatch, words, step):
    monkeypatch.chdir(tmp_path)
    narrow = ("--edits", "open", "--where", "width > 0")
    out = succeed(store, *words, *narrow).out
    line = next(line for line in out.splitlines() if line.startswith("next: "))
    assert line.startswith(f"next: cpp-pipe {step}")
    assert "--edits open --where 'width > 0'" in line


def test_a_printed_result_exists(store):
    for words in (("project",), ("assign", "--k", "4"), ("duplicates", "--above", "0.99")):
        out = succeed(store, *words).out
        path = next(line for line in out.splitlines() if line.startswith("result: "))
        assert Path(path.removeprefix("result: ")).exists()


def test_the_next_command_embeds_curated_shards_as_a_new_run(store, tmp_path):
    out = tmp_path / "my shards"
    done = succeed(store, "curate", "--out", out, "--run", "default")
    step = shlex.split(done.out.splitlines()[-1].removeprefix("next: "))
    assert step[:4] == ["cpp-pipe", "run", "--shards", str(out)] and "--run" not in step
    model = ["--model", "digits-clip", "--pretrained", "shipped"]
    assert step[4:] == [*model, "--store", str(store)]


# Clusters.


def test_clusters_lists_all_of_them_the_largest_first(store):
    rows = json.loads(succeed(store, "clusters", "--json").out)
    sizes = [row["size"] for row in rows]
    assert sum(sizes) == 32 and sizes == sorted(sizes, reverse=True) and len(sizes) == 4
    assert all(0 <= row["confidence"] <= 1 and row["caption"] for row in rows)
    lines = body(succeed(store, "clusters").out)
    assert lines[0].split() == ["cluster", "size", "confidence", "caption"]
    assert [int(line.split()[0]) for line in lines[1:-1]] == [row["cluster"] for row in rows]
    assert lines[-1] == "32 images in 4 clusters"


def test_clusters_can_be_sorted_and_limited(store):
    by_id = json.loads(succeed(store, "clusters", "--sort", "id", "--json").out)
    assert [row["cluster"] for row in by_id] == [0, 1, 2, 3]
    least = json.loads(succeed(store, "clusters", "--sort", "confidence", "-n", "2", "--json").out)
    assert least == sorted(by_id, key=lambda row: row["confidence"])[:2]
    assert "--sort must be size, id, confidence, got 'name'" in fail(
        store, "clusters", "--sort", "name"
    )


def test_the_confidence_of_a_cluster_is_the_mean_of_its_rows(store):
    opened = Store(store)
    assignments = next(
        artifact for artifact in opened.artifacts() if artifact.kind.name == "assignments"
    )
    rows = json.loads(succeed(store, "clusters", "--json").out)
    pairs = list(zip(assignments.column("cluster"), assignments.column("confidence"), strict=True))
    for row in rows:
        values = [confidence for cluster, confidence in pairs if cluster == row["cluster"]]
        assert row["size"] == len(values)
        assert row["confidence"] == pytest.approx(sum(values) / len(values))


# What was skipped.


def test_skipped_counts_reasons_and_lists_every_sample(store):
    found = json.loads(succeed(store, "skipped", "--json").out)
    assert found["total"] == 2 and found["reasons"] == {"undecodable": 1, "unsupported": 1}
    assert {(row["key"], row["reason"]) for row in found["rows"]} == {
        (f"{LONG}broken", "undecodable"),
        ("page", "unsupported"),
    }
    assert {row["shard"] for row in found["rows"]} == {"long.tar"}
    lines = body(succeed(store, "skipped").out)
    assert lines[0] == "skipped 2 of 34 samples"
    assert {tuple(line.split()) for line in lines[1:3]} == {
        ("1", "undecodable"),
        ("1", "unsupported"),
    }


def test_skipped_can_be_limited_and_filtered_by_reason(store):
    out = succeed(store, "skipped", "-n", "1").out
    assert "and 1 more" in out
    found = json.loads(succeed(store, "skipped", "--reason", "unsupported", "--json").out)
    assert [row["key"] for row in found["rows"]] == ["page"] and found["total"] == 1
    assert "the reasons are: " in fail(store, "skipped", "--reason", "nonesuch")


def test_no_table_is_printed_if_nothing_was_skipped(tmp_path, digit_shards):
    embed(tmp_path / "store", digit_shards)
    assert body(succeed(tmp_path / "store", "skipped").out) == ["skipped 0 of 60 samples"]


def test_a_lineage_describes_each_artifact_once(store):
    lines = body(succeed(store, "lineage", "captions").out)
    settings = [line.split()[0] for line in lines if " by " in line]
    assert len(settings) == len(set(settings)) and "embeddings" in settings
    version = next(line.split()[1].rstrip(":") for line in lines if "embeddings" in line)
    assert any(line.strip() == f"embeddings {version}, see above" for line in lines)


# Which run.


def test_a_store_with_one_run_needs_no_run_flag(tmp_path, digit_shards):
    store = tmp_path / "store"
    embed(store, digit_shards, more=("--run", "holidays"))
    succeed(store, "train", *SMALL)
    assert Store(store).runs.names() == ["holidays"]
    assert succeed(store, "lineage", "heads").out.startswith("heads ")
    assert len(json.loads(succeed(store, "search", "--text", "seven", "--json").out)) == 10
    # A command that embeds other images does not touch a run that it was not given.
    before = Store(store).runs.read("holidays")
    embed(store, digit_shards / "000.tar")
    assert Store(store).runs.names() == ["default", "holidays"]
    assert Store(store).runs.read("holidays") == before
    assert "heads" in fail(store, "lineage", "heads")
    assert succeed(store, "lineage", "heads", "--run", "holidays").code == 0


def test_with_several_runs_and_no_default_the_error_lists_them(tmp_path):
    opened, held = Store(tmp_path / "store"), {"embeddings": "0" * 16}
    assert find_run(opened, None) == "default" and find_run(opened, "x") == "x"
    with opened.writing():
        opened.runs.update("b", versions=held)
        assert find_run(opened, None) == "b"
        opened.runs.update("a", versions=held)
    with pytest.raises(ConfigError, match="has 2 runs: name one of them with --run: a, b"):
        find_run(opened, None)
    assert "--run: a, b" in fail(tmp_path / "store", "clusters")
    assert find_run(opened, "c") == "c"
    with opened.writing():
        opened.runs.update("default", versions=held)
    assert find_run(opened, None) == "default"


def test_a_failed_command_leaves_no_run_that_others_work_on(tmp_path, digit_shards):
    store = tmp_path / "store"
    embed(store, digit_shards, more=("--run", "holidays"))
    assert "nope" in fail(store, "embed", digit_shards, "--model", "nope")
    assert find_run(Store(store), None) == "holidays"


def test_a_missing_store_or_run_is_an_error(tmp_path, digit_shards):
    for command in ("verify", "gc"):
        assert "there is no store" in fail(tmp_path / "none", command)
    embed(tmp_path / "store", digit_shards / "000.tar")
    line = fail(tmp_path / "store", "status", "--run", "nope")
    assert "has no run 'nope': name one of its runs (default)" in line
    assert "there is no store" in fail(tmp_path / "none", "status", "--run", "nope")


def test_a_file_or_folder_in_the_way_is_one_line_of_error(tmp_path, digit_shards):
    file = tmp_path / "file"
    file.write_text("mine")
    line = fail(file, "embed", digit_shards, "--model", "digits-clip", "--pretrained", "shipped")
    assert "stands in the way" in line and file.read_text() == "mine"
    assert "cannot be created" in fail("/proc/no-store", "embed", digit_shards, "--model", "x")


def test_a_damaged_record_of_a_store_or_a_run_loses_nothing_else(tmp_path, digit_shards):
    store = tmp_path / "store"
    embed(store, digit_shards / "000.tar")
    for name, advice in (("store.json", "this file alone"), ("runs/default/run.json", "--run")):
        content = (store / name).read_text()
        for damaged in (content[:5], "[" * 200_000, "{}"):
            (store / name).write_text(damaged)
            assert advice in fail(store, "clusters")
        (store / name).write_text(content)
