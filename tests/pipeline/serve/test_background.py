"""What a server does in the background goes on after an error that nobody expected."""

import pytest
from starlette.testclient import TestClient

from cpp_pipe import Run
from cpp_pipe.pipeline.serve import app as app_module
from cpp_pipe.pipeline.serve.app import make_app
from cpp_pipe.pipeline.serve.open_run import CurrentRun
from cpp_pipe.store import residency

from ...waiting import wait_until


def messages(caplog: pytest.LogCaptureFixture, words: str) -> list[str]:
    """The messages of the log that hold some words."""
    return [record.getMessage() for record in caplog.records if words in record.getMessage()]


def errors(caplog: pytest.LogCaptureFixture, words: str) -> list[object]:
    """The types of the errors that were logged with some words; other servers may log them too."""
    return [
        record.exc_info[0]
        for record in caplog.records
        if record.exc_info and words in record.getMessage()
    ]


def test_a_run_is_opened_again_after_an_unexpected_error(finished, caplog):
    """The first one ended the checks for changes, and neither the log nor the page said so."""
    run, tries = Run.open(finished), []

    def open_run() -> Run:
        tries.append(None)
        if len(tries) in (2, 3, 4):
            raise RuntimeError("can't start new thread")
        return run

    current = CurrentRun(open_run)
    try:
        current.refresh()
        assert current.trouble is not None and "can't start new thread" in current.trouble
        with TestClient(make_app(current, refresh_seconds=0.01)):
            wait_until(lambda: len(tries) > 5, "the run is opened again", 20)
        assert current.trouble is None
        assert len(messages(caplog, "can't start new thread")) == 1
    finally:
        current.close()


def test_memory_is_released_after_an_unexpected_error(finished, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(app_module, "_TRIM_SECONDS", 0.01)
    monkeypatch.setattr(residency, "_STATM", tmp_path / "statm")
    (tmp_path / "statm").write_text("")
    current = CurrentRun(lambda: Run.open(finished))
    try:
        with TestClient(make_app(current)):
            wait_until(lambda: IndexError in errors(caplog, "trim failed"), "it is logged", 20)
            (tmp_path / "statm").write_text("0 0 many")
            wait_until(lambda: ValueError in errors(caplog, "trim failed"), "it goes on", 20)
    finally:
        current.close()
