"""Windows and macOS, as far as they can be tested on Linux."""

import os
import subprocess
import sys
from pathlib import Path, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpp_pipe.stages.sources.digits import digit_halves, digit_image
from cpp_pipe.store.names import is_plain_name, is_windows_name

ROOT = Path(__file__).parent.parent


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="open files are found in /proc")
@pytest.mark.slow
def test_all_modules_and_commands_work_without_what_windows_lacks(tmp_path: Path):
    images = tmp_path / "images" / "two words"
    images.mkdir(parents=True)
    for row in digit_halves()[1][:80].tolist():
        digit_image(row).save(images / f"{row}.png")
    # The package as in this checkout, whose folders the links in typings/ show.
    places = os.pathsep.join((str(ROOT / "typings"), str(ROOT)))
    done = subprocess.run(
        [sys.executable, "-m", "tests.windows", tmp_path],
        cwd=ROOT,
        env=os.environ
        | {"PYTHONWARNDEFAULTENCODING": "1", "PYTHONPATH": places, "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert int(done.stdout.split()[0]) > 200
    written = [path.relative_to(tmp_path) for path in tmp_path.rglob("*")]
    assert len(written) > 100
    assert all(is_windows_name(part) for path in written for part in path.parts)


RESERVED = (
    "CON", "con.txt", "Nul", "com1.parquet", "LPT9", "aux .x", "a:b", "a?", "a*", "a|b",
    "a<b", "a>b", 'a"b', "a\\b", "a/b", "trailing.", "trailing ", "tab\t", "\0",
)  # fmt: skip


@pytest.mark.parametrize("name", RESERVED)
def test_a_name_that_windows_reserves_is_refused(name: str):
    assert not is_windows_name(name)
    assert not is_plain_name(name, windows=True)


@pytest.mark.parametrize(
    "name", ["console", "a.con", "com", "com10", "nul-1", ".hidden", "Ä b", "x.y"]
)
def test_a_name_that_only_resembles_a_device_is_allowed(name: str):
    assert is_windows_name(name)


@given(st.text(min_size=1, max_size=20))
def test_a_plain_windows_name_is_one_component_without_a_drive(name: str):
    if is_plain_name(name, windows=True):
        path = PureWindowsPath("C:/store") / name
        assert path.parent == PureWindowsPath("C:/store")
        assert path.name == name
        assert is_plain_name(name, windows=False)
