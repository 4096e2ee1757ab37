"""The script for a machine with a GPU: parts fail on their own, and sizes fit the machine."""

import argparse
import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.card_rows import LEAST_ROWS, ROWS, affordable_rows
from benchmarks.card_tests import marked_files
from benchmarks.gpu import PARTS, run_part

ROOT = Path(__file__).resolve().parents[2]
needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
PLENTY = {"seconds": 1e6, "disk": 10**15, "memory": 10**15, "cores": 64}


def run_script(*words: str) -> "subprocess.CompletedProcess[str]":
    """Runs the script with this interpreter."""
    environment = {**os.environ, "PYTHON": sys.executable, "WHEELS": "nowhere"}
    return subprocess.run(
        [ROOT / "benchmarks" / "gpu.sh", *words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_number_of_rows_fits_time_disk_and_memory():
    assert affordable_rows(ROWS, **PLENTY) == ROWS
    for scarce in ({"seconds": 120.0}, {"disk": 10**10}, {"memory": 4 * 10**9}):
        rows = affordable_rows(ROWS, **{**PLENTY, **scarce})
        assert LEAST_ROWS <= rows < ROWS and rows % LEAST_ROWS == 0
    assert affordable_rows(ROWS, **{**PLENTY, "disk": 0}) == LEAST_ROWS


@needs_bash
def test_a_failed_part_is_reported_and_does_not_stop_the_others(tmp_path):
    words = ("--tiny", "--parts", "training,graphs", "--folder", str(tmp_path))
    run = run_script(*words, "--device", "abacus")
    last = json.loads(run.stdout.splitlines()[-1])
    assert run.returncode == 1, run.stderr
    assert list(last["failed"]) == ["training"] and last["failed"]["training"] in run.stdout
    assert "Error" in last["failed"]["training"] and "Traceback" in run.stderr
    assert "left out" in last["notes"]["graphs"]["steps as CUDA graphs"]


def test_a_part_over_its_time_limit_is_ended(tmp_path, capsys):
    flags = argparse.Namespace(
        device="cpu", folder=tmp_path, models=tmp_path, tiny=True, logs=tmp_path / "logs"
    )
    outcome = run_part("training", flags, 0.2)
    assert "over its time limit" in outcome.failure
    assert outcome.failure in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["logs"]


def test_every_test_that_needs_a_gpu_is_in_the_run():
    marked = [
        path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and ast.unparse(node).endswith("mark.gpu")
    ]
    assert "tests/stages/algorithms/test_gpu.py" in marked
    assert set(marked_files()) == set(marked)


def test_the_wheels_are_the_versions_that_the_tests_ran_with():
    pinned = set((ROOT / "constraints.txt").read_text().split())
    lines = (ROOT / "benchmarks" / "gpu_wheels.txt").read_text().splitlines()
    wheels = [line.split()[0] for line in lines if not line.startswith("#")]
    assert wheels and not set(wheels) - pinned


@needs_bash
@pytest.mark.parametrize("words", [["--device", "cpu"], ["--parts", "lunch", "--tiny"]])
def test_invalid_arguments_are_refused_in_one_sentence(words):
    run = run_script(*words)
    assert run.returncode == 1 and run.stdout == ""
    assert ("--tiny" if words[0] == "--device" else ", ".join(PARTS)) in run.stderr
