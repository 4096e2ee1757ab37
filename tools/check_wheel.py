"""Installs a wheel alone into a new environment, and runs the demonstration from an empty folder.

    python tools/check_wheel.py dist/cpp_pipe-*.whl

Its dependencies are those of this environment, which the new one sees by a path: torch alone would
take minutes and 6 GB. The checkout is not seen: paths of editable installs are left out.
"""

import json
import os
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_WHERE = "import cpp_pipe.pipeline; print(cpp_pipe.pipeline.__file__)"


def check_wheel(wheel: Path, folder: Path) -> dict[str, float]:
    """The figures of the demonstration, which the installed wheel runs in a new folder."""
    python = _install(wheel, folder / "venv")
    empty = folder / "empty"
    empty.mkdir()
    where = Path(_run(empty, python, "-c", _WHERE).strip())
    _require(where.is_relative_to(folder.resolve()), f"cpp_pipe is imported from {where}")
    command = python.with_name("cpp-pipe")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    said = _run(empty, command, "--version").strip()
    _require(said == f"cpp-pipe {project['version']}", f"--version says {said!r}")
    listed = _run(empty, command, "fetch")
    _require("cifar10" in listed, "fetch lists no data sets")
    figures = json.loads(_run(empty, command, "demo").splitlines()[-1])
    _require(figures["acc"] > figures["chance_acc"], f"the demonstration scores {figures}")
    return figures


def _install(wheel: Path, folder: Path) -> Path:
    """The Python of a new environment with the wheel."""
    venv.create(folder, with_pip=False, symlinks=os.name != "nt")
    scripts = folder / ("Scripts" if os.name == "nt" else "bin")
    python = scripts / "python"
    pip = (sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check")
    _run(folder, *pip, "install", "--quiet", "--no-deps", "--no-index", str(wheel.resolve()))
    purelib = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(_run(folder, python, "-c", purelib).strip())
    # A line of a .pth file is a path; files of editable installs there are not followed.
    folders = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (site / "dependencies.pth").write_text("".join(f"{path}\n" for path in folders))
    return python


def _run(folder: Path, *command: str | Path) -> str:
    words = [str(word) for word in command]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    env |= {"PYTHONNOUSERSITE": "1", "CPP_PIPE_STORE": str(folder / "artifacts")}
    ran = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, check=False)
    _require(ran.returncode == 0, f"{' '.join(words)} failed:\n{ran.stdout}{ran.stderr}")
    return ran.stdout


def _require(is_true: bool, otherwise: str) -> None:
    if not is_true:
        sys.exit(otherwise)


if __name__ == "__main__":
    (given,) = sys.argv[1:]
    with tempfile.TemporaryDirectory() as scratch:
        print(f"{Path(given).name} works alone: {check_wheel(Path(given), Path(scratch))}")
