"""The folder of mapped files: reads that outlive a server leave no file."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from cpp_pipe.pipeline.run import Run
from cpp_pipe.pipeline.serve.mapped_folder import MappedFolder
from cpp_pipe.pipeline.serve.open_run import CurrentRun, OpenRun


def test_rows_read_after_closing_stay_in_memory(finished, tmp_path, monkeypatch):
    """A thread that still warmed up used to create the removed folder again."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    mapped, closed = OpenRun(Run.open(finished)), OpenRun(Run.open(finished))
    closed.close()
    name = closed.clusters.groupings[0].name
    partition = closed.clusters.partition(name)
    assert np.array_equal(partition.order, mapped.clusters.partition(name).order)
    assert closed.rows.read([0], ["key"]) == mapped.rows.read([0], ["key"])
    assert len(list(tmp_path.iterdir())) == 1
    mapped.close()
    assert not list(tmp_path.iterdir())


def test_a_run_that_opens_while_the_server_ends_leaves_no_file(finished, tmp_path, monkeypatch):
    """The thread that opened a changed run used to create a folder after the server had ended."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    run = Run.open(finished)
    versions = {slot: made for slot, made in run.record.versions.items() if slot != "captions"}
    changed = Run(run.store, replace(run.record, versions=versions))
    opening, may_open = threading.Event(), threading.Event()

    def open_slowly() -> Run:
        opening.set()
        assert may_open.wait(20)
        return changed

    states = iter([lambda: run, open_slowly])
    current = CurrentRun(lambda: next(states)())
    refreshing = threading.Thread(target=current.refresh)
    refreshing.start()
    assert opening.wait(20)
    current.close()
    may_open.set()
    refreshing.join(20)
    assert current.trouble is None and current.opened.run is changed
    assert not list(tmp_path.iterdir())


def test_a_run_that_cannot_be_opened_leaves_no_folder(finished, tmp_path, monkeypatch):
    """The folder stayed where anything failed after it was made: here, to find the places of files
    from a working directory that is gone."""
    run, gone = Run.open(finished), tmp_path / "gone"
    gone.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(FileNotFoundError):
        OpenRun(run)
    assert not list(tmp_path.iterdir())


def test_a_folder_is_not_removed_while_a_file_is_being_written(tmp_path):

    folder = MappedFolder(tmp_path / "files")
    with folder.writing() as path:
        assert path is not None
        closing = threading.Thread(target=folder.close)
        closing.start()
        path.mkdir()
        (path / "0.npy").write_bytes(b"bytes")
        assert closing.is_alive()
    closing.join()
    assert not (tmp_path / "files").exists()
