"""`cpp-pipe serve` as a process: its output, and no leftovers."""

import contextlib
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
from typer.testing import CliRunner

from cpp_pipe.pipeline.commands.app import app
from cpp_pipe.pipeline.serve import server_socket

from ..cli import fail, succeed
from .process import start
from .test_slow_readers import ask


def folders_of_servers(folder: Path) -> list[Path]:
    """The folders of servers among the temporary files."""
    return list(folder.glob(".tmp-cpp-pipe-serve-*"))


TOKEN = re.compile(r"http://127\.0\.0\.1:\d+/\?token=([\w-]{32})")


@pytest.mark.usefixtures("sighup_ends_processes")
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_prints_its_address_and_a_signal_ends_it_without_leftovers(finished, tmp_path, signum):
    with start(finished, env={"TMPDIR": str(tmp_path)}) as server:
        assert TOKEN.fullmatch(server.printed)
        assert server.client.get("/api/run").json()["rows"] == 60
        assert folders_of_servers(tmp_path)
        code, out, err = server.stop(signum)
    assert (code, out) == (0, "")
    assert err == "next: open this address in a browser; Ctrl-C stops the server\n"
    assert not folders_of_servers(tmp_path)


def test_leftovers_of_a_killed_server_are_removed_by_the_next_one(finished, tmp_path):
    env = {"TMPDIR": str(tmp_path)}
    with start(finished, env=env) as server:
        assert server.client.get("/api/run").status_code == 200
        server.stop(signal.SIGKILL)
    left = folders_of_servers(tmp_path)
    assert left
    with start(finished, env=env) as server:
        assert server.client.get("/api/run").status_code == 200
        there = folders_of_servers(tmp_path)
        assert there and not set(there) & set(left)
        server.stop(signal.SIGINT)


def test_the_help_says_how_it_ends():
    ran = CliRunner().invoke(app, ["serve", "--help"])
    assert "runs until Ctrl-C, and then ends with exit code 0" in " ".join(ran.output.split())


def test_a_client_that_does_not_read_does_not_hold_up_the_end(finished):
    with start(finished) as server, contextlib.ExitStack() as held:
        for _ in range(3):
            held.enter_context(ask(server.port, "/openapi.json", server.token))
        assert server.client.get("/api/run").status_code == 200
        began = time.monotonic()
        code, _, err = server.stop(signal.SIGINT)
        assert code == 0 and time.monotonic() - began < 10 and "Traceback" not in err


def test_every_start_has_a_token_of_its_own_unless_one_is_given(finished):
    with start(finished) as first, start(finished, "--token", "new") as second:
        tokens = {server.token for server in (first, second)}
        assert len(tokens) == 2 and all(len(token) == 32 for token in tokens)
        for server in (first, second):
            assert httpx.get(f"{server.base}api/run").status_code == 401
            assert httpx.get(server.printed).status_code == 303
        other = httpx.get(f"{first.base}api/run", params={"token": second.token})
        assert other.status_code == 401
    for flags, env in ((["--token", " é & / "], {}), ([], {"CPP_PIPE_TOKEN": "é & /"})):
        with start(finished, *flags, env=env) as server:
            assert server.token == "é & /"
            assert server.client.get("/api/run").status_code == 200


def test_no_token_lets_in_this_machine_only(finished):
    with start(finished, "--no-token") as server:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", server.printed)
        assert httpx.get(f"{server.base}api/run").json()["rows"] == 60
    for host in ("0.0.0.0", "::"):
        message = fail(finished, "serve", "--host", host, "--no-token", "--no-make")
        assert message.endswith(
            f"--no-token with --host {host} lets other machines see every image: leave one out"
        )


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--token", ""], "--token must not be empty"),
        (["--token", "  "], "--token must not be empty"),
        (["--token", "a\nb"], "--token must have only printable characters"),
        (["--token", "\udcff"], "--token must have only printable characters"),
        (["--token", "a", "--no-token"], "exclude each other"),
        (["--allow-host", "http://a.example/"], "--allow-host must be a name"),
        (["--host", "no-such-host.invalid"], "is not a name or an address that this machine knows"),
        (["--host", ""], "is not a name or an address that this machine knows"),
        (["--host", "a b"], "is not a name or an address that this machine knows"),
        (["--host", "http://127.0.0.1"], "is not a name or an address that this machine knows"),
        (["--host", "a" * 70], "is not a name or an address that this machine knows"),
        (["--host", "\udcff"], "is not a name or an address that this machine knows"),
        (["--host", "192.0.2.1"], "is not an address of this machine"),
    ],
)
def test_an_invalid_run_or_flag_is_refused_in_one_line(finished, flags, words):
    assert words in fail(finished, "serve", "--port", "0", "--no-make", *flags)


def test_a_port_that_is_taken_is_reported_with_the_next_that_is_free(finished, served):
    message = fail(finished, "serve", "--port", str(served.port), "--no-make")
    found = re.search(rf"--port {served.port} is in use: try --port (\d+), which is free", message)
    assert found and "--port 0 for any that is free" in message
    assert int(found[1]) > served.port
    server_socket.bind("127.0.0.1", int(found[1])).close()


def test_a_port_that_is_taken_is_reported_before_any_work(finished, served, tmp_path):
    """Making clusters first can take hours."""
    store = tmp_path / "artifacts"
    succeed(store, "import", write_rows(tmp_path), "--model", "ViT-B-32")
    assert "is in use" in fail(store, "serve", "--port", str(served.port))
    assert not (store / "assignments").exists()


def write_rows(folder: Path) -> Path:
    """Embeddings that were made elsewhere."""
    rows = np.random.default_rng(0).standard_normal((30, 8))
    np.savez(folder / "rows.npz", x=rows, key=[f"k{number}" for number in range(30)])
    return folder / "rows.npz"


@pytest.mark.parametrize(
    "host, shown", [("::1", "[::1]"), ("localhost", "localhost"), ("127.0.0.2", "127.0.0.2")]
)
def test_every_address_of_the_loopback_works_and_is_not_warned_about(finished, host, shown):
    if host == "::1" and not has_ipv6():
        pytest.skip("this machine has no IPv6")
    with start(finished, "--host", host) as server:
        assert server.base.startswith(f"http://{shown}:")
        assert server.client.get("/api/run").json()["rows"] == 60
        assert server.client.get("/api/run", headers={"host": "evil.example"}).status_code == 403
        assert "other machines" not in server.stop(signal.SIGINT)[2]


def has_ipv6() -> bool:
    """Whether this machine can listen at ::1."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def test_a_host_that_other_machines_reach_is_warned_about(finished):
    with start(finished, "--host", "0.0.0.0", "--allow-host", "photos.example") as server:
        assert server.base.startswith("http://0.0.0.0:") and len(server.token) == 32
        for name in ("photos.example", "10.0.0.7:8117", "0.0.0.0"):
            assert server.client.get("/api/run", headers={"host": name}).status_code == 200
        assert server.client.get("/api/run", headers={"host": "evil.example"}).status_code == 403
        _, _, err = server.stop(signal.SIGINT)
    assert "can be reached from other machines" in err and "TLS" in err


def test_a_missing_run_is_reported(finished, tmp_path):
    assert "has no run 'none'" in fail(finished, "serve", "--run", "none", "--no-make")
    assert "there is no store" in fail(tmp_path / "nothing", "serve", "--no-make")
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
