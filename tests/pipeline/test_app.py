"""The command line as a whole: it starts fast, and its help lists all commands."""

import dataclasses
import importlib
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import typer

from cpp_pipe.pipeline import doctor
from cpp_pipe.pipeline.commands.app import COMMANDS, EXIT_CODES, GROUPS, app, is_of_memory
from cpp_pipe.pipeline.commands.options import Common
from cpp_pipe.store import Store

from .cli import call, succeed

HEAVY = {"torch", "numpy", "pyarrow", "scipy", "sklearn", "open_clip", "faiss", "PIL"}


def loaded_by(code: str) -> set[str]:
    """The modules that a fresh Python has after running some code."""
    ran = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(' '.join(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(ran.stdout.splitlines()[-1].split())


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


@pytest.mark.parametrize("words", [["--help"], [], ["status", "--store", "STORE"]])
def test_help_and_status_load_nothing_heavy(words, tmp_path):
    store = Store(tmp_path)
    with store.writing():
        store.runs.update("default", sources={"part": "place"})
    words = [str(tmp_path) if word == "STORE" else word for word in words]
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
        names = {name for name, (holder, _) in COMMANDS.items() if holder == module}
        assert set(group.commands) == names


def test_the_help_lists_every_command_in_its_group_within_80_columns():
    out = call(None, "--help").out
    assert max(map(len, out.splitlines())) <= 80
    sections = dict(re.findall(r"^(\S[^\n]*):\n((?:  .*\n?)+)", out, re.MULTILINE))
    for title, commands in GROUPS.items():
        listed = [line.split(maxsplit=1) for line in sections[title].splitlines()]
        assert listed == [[name, line] for name, (_, line) in commands.items()]


def test_no_argument_shows_the_help():
    done = call(None)
    assert done.code == 0 and done.out == call(None, "--help").out


def test_merge_is_an_alias_that_names_its_replacement():
    done = call(None, "merge", "--help")
    assert done.code == 0 and "cpp-pipe hierarchy --finest 500" in done.out
    assert done.err == "`merge` is now called `hierarchy`: cpp-pipe hierarchy\n"
    assert not re.search(r"^  merge", call(None, "--help").out, re.MULTILINE)


def test_the_help_shows_defaults_without_a_backslash():
    assert "[default: 0.1; 0<=x<=1]" in " ".join(call(None, "embed", "--help").out.split())
    assert not any("\\[" in call(None, name, "--help").out for name in COMMANDS)


OWN = {"import": {"model", "pretrained"}, "run": {"config", "run"}, "status": {"run"},
       "eval": {"where"}, "sweep": {"sets"}}  # fmt: skip
"""Parameters of commands that have the name of a shared flag, and are not it."""


def test_shared_flags_come_last_and_in_one_order():
    order = [flag.name for flag in dataclasses.fields(Common)]
    group: Any = typer.main.get_command(app)
    for name in COMMANDS:
        flags = [flag.name for flag in group.get_command(None, name).params]
        shared = [flag for flag in flags if flag in order and flag not in OWN.get(name, ())]
        assert flags[len(flags) - len(shared) :] == shared == sorted(shared, key=order.index)


# Exit codes.


def test_every_exit_code_is_in_the_help_and_in_the_docs():
    out = " ".join(call(None, "--help").out.split())
    page = (Path(__file__).parents[2] / "docs" / "start.md").read_text()
    for code, meaning in EXIT_CODES.items():
        assert f"{code} {meaning}" in out
        assert re.search(rf"^\| {code} \| .+ \|$", page, re.MULTILINE)


def write_distributions(folder: Path, *names: str) -> None:
    """Lets Python find installed distributions in a folder, e.g. `faiss_gpu-1.10.0`."""
    for name in names:
        title, version = name.rsplit("-", 1)
        (folder / f"{name}.dist-info").mkdir()
        metadata = f"Name: {title}\nVersion: {version}\n"
        (folder / f"{name}.dist-info" / "METADATA").write_text(metadata)


@pytest.fixture
def second_faiss(tmp_path, monkeypatch) -> None:
    """FAISS for GPUs is installed beside FAISS for CPUs."""
    (tmp_path / "packages").mkdir()
    write_distributions(tmp_path / "packages", "faiss_gpu-1.10.0")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "packages"), *sys.path])


def test_commands_end_with_the_documented_exit_codes(tmp_path, monkeypatch, second_faiss):
    codes = {
        0: call(tmp_path, "status"),
        1: call(None, "doctor"),
        2: call(tmp_path, "lineage", "captions"),
    }

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "examine", stop)
    codes[130] = call(None, "doctor")
    assert {code: done.code for code, done in codes.items()} == {code: code for code in EXIT_CODES}
    assert call(None, "nonesuch").code == call(None, "status", "--nonesuch").code == 2
    assert codes[2].err.startswith("cpp-pipe: ") and len(codes[2].err.splitlines()) == 1


# The store and the installation.


def test_an_empty_store_says_how_to_begin(tmp_path):
    assert "cpp-pipe run --images FOLDER" in succeed(tmp_path / "none", "status").out
    assert not (tmp_path / "none").exists()


def test_the_doctor_finds_nothing_wrong_here():
    done = call(None, "doctor")
    assert done.code == 0, done.out
    assert "torch" in done.out and "faiss-cpu" in done.out and "devices" in done.out


def test_the_doctor_names_two_installed_faiss_as_a_fault(second_faiss):
    found = doctor.examine()
    assert len(found.faults) == 1
    assert "faiss-cpu and faiss-gpu overwrite each other" in found.faults[0]
    assert "pip uninstall" in found.faults[0]


def test_a_faiss_distribution_is_found_by_its_name(tmp_path, monkeypatch):
    write_distributions(tmp_path, "faiss_gpu_cuvs-1.12.0", "faiss_cpu-1.9.0", "faissy-1.0")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert doctor.faiss_packages() == {"faiss-cpu": "1.9.0", "faiss-gpu-cuvs": "1.12.0"}


@pytest.mark.parametrize(
    "message",
    [
        "DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes.",
        "CUDA out of memory. Tried to allocate 20.00 GiB.",
        "MPS backend out of memory (MPS allocated: 8.00 GiB)",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    ],
)
def test_errors_of_torch_about_too_little_memory_are_recognised(message: str):
    assert is_of_memory(RuntimeError(message))


def test_too_little_memory_of_this_machine_is_recognised():
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**60)
    assert is_of_memory(raised.value)
    assert is_of_memory(MemoryError())


@pytest.mark.parametrize(
    "message",
    [
        "CUDA error: an illegal memory access was encountered",
        "unable to open shared memory object </torch_1> in read-write mode: Too many open files",
        "view size is not compatible with input tensor's size: some elements share memory",
    ],
)
def test_other_errors_that_mention_memory_are_not_mistaken_for_it(message: str):
    """They once were, so bugs were shown without a traceback and with useless advice."""
    assert not is_of_memory(RuntimeError(message))
