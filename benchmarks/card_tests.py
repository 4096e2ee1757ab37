"""A part of `benchmarks.gpu`: the tests that need a GPU."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from .card import Figure, Setup

ROOT = Path(__file__).resolve().parent.parent
MARK = "pytest.mark.gpu"


def marked_files() -> list[str]:
    """Modules with tests marked `gpu`; others may need libraries that are not on the machine."""
    found = sorted((ROOT / "tests").rglob("test_*.py"))
    return [
        path.relative_to(ROOT).as_posix()
        for path in found
        if MARK in path.read_text(encoding="utf-8")
    ]


def marked_tests(setup: Setup) -> Iterator[Figure]:
    """How many tests pass, fail and are skipped."""
    report = setup.folder / "tests.xml"
    line = [sys.executable, "-m", "pytest", "-p", "cpp_pipe", "-p", "no:cacheprovider", "-q"]
    line += ["-m", "gpu", "--slow", f"--junitxml={report}", f"--basetemp={setup.folder / 'tests'}"]
    # Libraries of other versions than those that are tested may warn.
    line += ["-o", "filterwarnings=default", *marked_files()]
    code = subprocess.run(line, cwd=ROOT, stdin=subprocess.DEVNULL, check=False).returncode
    suite = ElementTree.parse(report).getroot().find("testsuite")
    assert suite is not None, "pytest reports one suite"
    count = {name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")}
    broken = count["failures"] + count["errors"]
    yield Figure(name="passed", value=count["tests"] - broken - count["skipped"])
    yield Figure(name="failed", value=broken)
    yield Figure(name="skipped", value=count["skipped"])
    for case in suite.iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            yield Figure(name="FAILED", note=f"{case.get('classname')}::{case.get('name')}")
    if code:
        raise RuntimeError(f"pytest ended with {code}: {broken} of {count['tests']} tests failed")
