"""Captions beside decisions: those that curate takes, and what clusters says without images."""

from pathlib import Path

from cpp_pipe import Run, Store

from ..cli import call, fail, succeed


def test_captions_that_are_out_of_date_are_reported_beside_decisions(
    tmp_path: Path, copy_of_run
) -> None:
    store = copy_of_run(tmp_path / "artifacts")
    Run.open(Store(store)).edits.tag("odd", images=[1])
    words = ("curate", "--edits", "open", "--caption", "*", "--dry-run")
    assert succeed(store, *words).out
    succeed(store, "assign", "--k", "3")
    assert "cpp-pipe caption" in fail(store, *words)
    Run.open(Store(store)).edits.name(0, "rings")
    done = call(store, *words)
    assert done.code == 0 and "cpp-pipe caption" in done.err


def test_clusters_without_images_are_listed_as_none(tmp_path: Path, copy_of_run) -> None:
    """An IndexError ended the command where every image was excluded."""
    store = copy_of_run(tmp_path / "artifacts")
    run = Run.open(Store(store))
    rows = run.artifact("embeddings").rows
    run.edits.exclude(images=range(rows))
    out = succeed(store, "clusters", "--edits", "open").out
    assert f"0 images in 0 clusters; {rows} excluded" in out
    assert f"next: cpp-pipe edit log --store {store}" in out
