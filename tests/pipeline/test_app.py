"""The command line as a whole: quick to answer, and its help in step with its commands."""

import importlib
import subprocess
import sys
from typing import Any

import pytest
import typer

from cpp_pipe.pipeline import doctor
from cpp_pipe.pipeline.commands.app import COMMANDS

from .cli import call, succeed

HEAVY = {"torch", "numpy", "pyarrow", "scipy", "sklearn", "open_clip", "faiss", "PIL"}


def loaded_by(code: str) -> set[str]:
    """The modules that a fresh Python has after running some code."""
    told = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(' '.join(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(told.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    ("code", "needed"),
    [
        ("import cpp_pipe; cpp_pipe.Store", set()),
        ("from cpp_pipe import Run, search", {"numpy"}),
        ("import cpp_pipe.pipeline.commands.status, cpp_pipe.pipeline.commands.app", set()),
    ],
)
def test_nothing_heavy_is_loaded_before_it_is_needed(code, needed):
    assert loaded_by(code) & HEAVY == needed


@pytest.mark.parametrize("words", [["--help"], ["status"]])
def test_help_and_status_load_nothing_heavy(words):
    code = f"""
import sys
from typing import Any
sys.argv = ["cpp-pipe", *{words!r}]
from cpp_pipe.__main__ import main
try:
    main()
except SystemExit as end:
    assert not end.code
"""
    assert loaded_by(code) & HEAVY == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_begins_with_its_line_and_shows_an_example(name):
    module, line = COMMANDS[name]
    group: Any = typer.main.get_command(
        importlib.import_module(f"cpp_pipe.pipeline.commands.{module}").app
    )
    help_text = group.commands[name].help
    assert help_text.splitlines()[0] == line
    assert f"cpp-pipe {name}" in help_text
    assert call(None, name, "--help").code == 0


def test_every_command_is_listed():
    modules = {module for module, _ in COMMANDS.values()}
    for module in modules:
        group: Any = typer.main.get_command(
            importlib.import_module(f"cpp_pipe.pipeline.commands.{module}").app
        )
        named = {name for name, (where, _) in COMMANDS.items() if where == module}
        assert set(group.commands) == named


def test_an_empty_store_says_how_to_begin(tmp_path):
    assert "cpp-pipe embed" in succeed(tmp_path / "none", "status").out
    assert not (tmp_path / "none").exists()


def test_the_doctor_finds_nothing_wrong_here():
    done = call(None, "doctor")
    assert done.code == 0, done.out
    assert "torch" in done.out and "faiss-cpu" in done.out and "devices" in done.out


def test_the_doctor_names_two_faiss_as_the_fault_they_are(monkeypatch):
    both = {"faiss-cpu": "1.10.0", "faiss-gpu": "1.10.0"}
    monkeypatch.setattr(doctor, "faiss_packages", lambda: both)
    found = doctor.examine()
    assert len(found.faults) == 1
    assert "faiss-cpu and faiss-gpu overwrite each other" in found.faults[0]
    assert "pip uninstall" in found.faults[0]


def test_a_faiss_distribution_is_found_by_its_name(tmp_path, monkeypatch):
    for name in ("faiss_gpu_cuvs-1.12.0", "faiss_cpu-1.9.0", "faissy-1.0"):
        folder = tmp_path / f"{name}.dist-info"
        folder.mkdir()
        title, version = name.rsplit("-", 1)
        (folder / "METADATA").write_text(f"Name: {title}\nVersion: {version}\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert doctor.faiss_packages() == {"faiss-cpu": "1.9.0", "faiss-gpu-cuvs": "1.12.0"}
