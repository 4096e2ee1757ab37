"""`.ci/run`: its functions in a small repository of their own, and what `make wheel` removes."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .waiting import wait_until

ROOT = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.skipif(
    any(shutil.which(name) is None for name in ("bash", "git", "setsid")),
    reason="needs bash, git and setsid",
)

FILES = {
    "pyproject.toml": '[project]\nname = "a"\ndependencies = ["numpy>=2,<3"]\n',
    "constraints.txt": "numpy==2.0\n",
    ".ci/newest": "echo [a-z]*\n",
}


def functions() -> str:
    """The functions of `.ci/run`, and what stands before them; without its steps."""
    text = (ROOT / ".ci" / "run").read_text()
    return text[: text.index('step "chromium"')].replace('cd "$(dirname', ': "$(dirname')


def commit(folder: Path, hours: int, **files: str) -> None:
    """Commits files; `hours` after the first day."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    date = f"{1_750_000_000 + 3600 * hours} +0000"
    environment = {**os.environ, "GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}
    author = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    for words in (("add", "."), (*author, "commit", "-q", "--allow-empty", "-m", "change")):
        subprocess.run(["git", *words], cwd=folder, env=environment, check=True)


@pytest.fixture
def repository(tmp_path) -> Path:
    """Two commits, two days apart; `.venv/bin/python` is this interpreter."""
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)
    (tmp_path / ".gitignore").write_text(".venv\n")
    commit(tmp_path, 0, **FILES)
    commit(tmp_path, 48, other="1")
    return tmp_path


def is_changed(folder: Path) -> bool:
    """What changes_requirements says in a repository."""
    script = f"{functions()}\nif changes_requirements; then echo yes; else echo no; fi"
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, capture_output=True, text=True, check=True
    )
    return {"yes": True, "no": False}[done.stdout.strip()]


def test_a_change_of_other_files_does_not_change_the_requirements(repository):
    assert not is_changed(repository)


@pytest.mark.parametrize("name", FILES)
def test_an_uncommitted_change_of_the_requirements_is_noticed(name, repository):
    with (repository / name).open("a") as file:
        file.write('version = "2"\n')
    assert is_changed(repository)


def test_commits_of_the_last_day_count_as_one_change(repository):
    commit(repository, 96, **{"constraints.txt": "numpy==2.1\n"})
    commit(repository, 97, other="2")
    assert is_changed(repository)
    commit(repository, 122, other="3")
    assert not is_changed(repository)


def test_a_shallow_clone_counts_as_a_change_of_the_requirements(tmp_path, repository):
    cut = tmp_path / "cut"
    subprocess.run(
        ["git", "clone", "-q", "--depth=1", f"file://{repository}", cut],
        check=True,
        capture_output=True,
    )
    shutil.copytree(repository / ".venv", cut / ".venv")
    assert is_changed(cut)


@pytest.mark.parametrize("ending", ["exit 1", "kill $$; sleep 9"])
def test_background_steps_end_with_the_script(ending, tmp_path):
    inner = f"sleep 60 & echo $! >{shlex.quote(str(tmp_path))}/pid; wait"
    wait = f"until [[ -s {shlex.quote(str(tmp_path))}/pid ]]; do sleep 0.05; done"
    script = f"{functions()}\nbeside lint bash -c {shlex.quote(inner)}\n{wait}\n{ending}"
    assert subprocess.run(["bash", "-c", script], cwd=tmp_path, timeout=30).returncode != 0
    process = int((tmp_path / "pid").read_text())
    wait_until(lambda: not is_alive(process))


def test_a_background_step_is_shown_with_its_time_when_it_is_joined(tmp_path):
    script = f'{functions()}\nbeside lint echo checked\njoin\nprintf "%s" "$times"'
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert "\nchecked\n" in done.stdout
    assert re.search(r"^ +0 s  lint, beside others$", done.stdout, re.MULTILINE)
    script = f"{functions()}\nbeside lint false\njoin"
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and "lint FAILED" in done.stderr


def is_alive(process: int) -> bool:
    """Whether a process runs; one that ended and was not waited for does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False


def test_make_wheel_does_not_remove_the_site_of_the_docs():
    recipe = (ROOT / "Makefile").read_text().split("\nwheel:")[1].split("\n\n")[0]
    (removal,) = [line.strip() for line in recipe.splitlines() if "rm -rf" in line]
    assert removal.split()[2:] == ["build/lib", "build/bdist*", "dist"]
