"""`cpp-pipe serve` as a process: what it prints, and that it leaves nothing behind."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import httpx
import pytest

from ..cli import fail

COMMAND = [sys.executable, "-m", "cpp_pipe", "serve", "--port", "0", "--no-make"]


@pytest.fixture
def started(finished, tmp_path):
    """Starts servers, and ends those that a test leaves running."""
    running = []

    def start(*flags: str) -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen(
            [*COMMAND, "--store", str(finished), *flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(tmp_path)},
        )
        running.append(process)
        assert process.stdout is not None
        return process, process.stdout.readline().strip()

    yield start
    for process in running:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_it_prints_its_address_and_a_signal_ends_it_with_nothing_left(started, tmp_path, signum):
    process, address = started()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", address)
    assert httpx.get(f"{address}api/run", timeout=60).json()["rows"] == 60
    assert list(tmp_path.glob("cpp-pipe-serve-*"))
    process.send_signal(signum)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, "")
    assert err == "next: open this address in a browser; Ctrl-C stops the server\n"
    assert list(tmp_path.glob("cpp-pipe-serve-*")) == []


def test_the_address_holds_the_token_and_new_generates_one(started):
    _, address = started("--token", "é & /")
    base, _, token = address.partition("?token=")
    assert unquote(token) == "é & /"
    assert httpx.get(f"{base}api/run", timeout=60).status_code == 401
    assert httpx.get(address, timeout=60).status_code == 303
    _, first = started("--token", "new")
    _, second = started("--token", "new")
    tokens = {address.partition("?token=")[2] for address in (first, second)}
    assert len(tokens) == 2 and all(len(token) > 30 for token in tokens)


def test_a_host_that_other_machines_reach_is_warned_about(started, capfd):
    process, address = started("--host", "0.0.0.0", "--token", "new")
    assert address.startswith("http://0.0.0.0:")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert "can be reached from other machines" in err and "TLS" in err


def test_a_missing_run_is_reported(finished, tmp_path):
    assert "has no run 'none'" in fail(finished, "serve", "--run", "none", "--no-make")
    assert "has no run 'default'" in fail(tmp_path / "nothing", "serve", "--no-make")
    assert "has no embeddings yet" in fail(tmp_path / "nothing", "serve")
    assert not (tmp_path / "nothing").exists()


def test_help_and_map_load_nothing_of_the_server():
    code = (
        "import sys; import cpp_pipe.pipeline.commands.serve, cpp_pipe.pipeline.serve.preparation;"
        "print({'fastapi', 'pydantic', 'uvicorn', 'torch'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "set()\n"


def test_the_page_is_in_the_package():
    import cpp_pipe.pipeline.serve.page as page

    folder = Path(page.__file__ or "").parent
    suffixes = {path.suffix for path in folder.iterdir()} - {""}
    assert suffixes == {".css", ".html", ".js", ".py", ".svg"}
    for path in folder.iterdir():
        if path.suffix in (".css", ".html", ".js"):
            text = path.read_text()
            assert len(text.splitlines()) <= 400, path
            # Nothing is parsed as markup, and nothing comes from other servers.
            for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
                assert word not in text, f"{path} {word}"
            addresses = set(re.findall(r"https?://[^\s\"'`)]+", text))
            assert addresses <= {"http://www.w3.org/2000/svg"}, path
