"""Who is let in, and what a browser may do with what it gets."""

import httpx
import pytest
from typer.testing import CliRunner

from cpp_pipe.pipeline.commands.app import app
from cpp_pipe.pipeline.serve.guard import name_of
from cpp_pipe.pipeline.serve.routes_page import VIEWS

from ..cli import fail
from .serving import serve

TOKEN = "a word that nobody guesses"


@pytest.fixture(scope="module")
def closed(finished):
    """A server that asks for a token."""
    with serve(finished, token=TOKEN) as found:
        yield found


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
def test_a_foreign_name_that_leads_here_is_turned_away(served, host):
    found = served.client.get("/api/run", headers={"host": host})
    assert found.status_code == 403 and "pictures" not in found.text


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:81", "127.0.0.1:9", "[::1]:8117"])
def test_the_names_of_this_machine_are_answered(served, host):
    assert served.client.get("/api/run", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host, name", [("[::1]:80", "::1"), ("A.b:1", "a.b"), ("", ""), ("[::1", "::1"), ("a", "a")]
)
def test_a_name_is_read_without_its_port(host, name):
    assert name_of(host) == name


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": TOKEN},
        {"authorization": "Basic " + TOKEN},
        {"cookie": "cpp_pipe_token=wrong"},
        {"cookie": f"cpp_pipe_token={TOKEN}"},
        {"cookie": "=;;\x01"},
        {"authorization": "Bearer é".encode("latin-1")},
    ],
)
@pytest.mark.parametrize("path", ["/", "/api/run", "/api/pictures/0", "/static/main.js", "/docs"])
def test_nothing_is_shown_without_the_token(closed, headers, path):
    found = closed.client.get(path, headers=headers)
    assert found.status_code == 401 and "cpp-pipe serve" in found.text


def test_posts_are_turned_away_before_they_are_read(closed):
    for path in ("/api/search", "/knn-service", "/metadata-service"):
        assert closed.client.post(path, content=b"x" * 1000).status_code == 401


def test_a_token_lets_scripts_in_by_a_header(closed):
    found = closed.client.get("/api/run", headers={"authorization": f"Bearer {TOKEN}"})
    assert found.status_code == 200
    # Others reach it by any name: that is what the token is for.
    headers = {"authorization": f"bearer {TOKEN}", "host": "photos.example"}
    assert closed.client.get("/api/run", headers=headers).status_code == 200


def test_a_browser_trades_the_token_for_a_cookie_and_loses_it_from_the_address(closed):
    with httpx.Client(base_url=closed.client.base_url) as browser:
        found = browser.get("/search", params={"text": "a & b", "token": TOKEN})
        assert found.status_code == 303
        assert found.headers["location"] == "/search?text=a+%26+b"
        cookie = found.headers["set-cookie"]
        assert "HttpOnly" in cookie and "SameSite=strict" in cookie and TOKEN not in cookie
        assert browser.get("/api/run").status_code == 200


@pytest.mark.parametrize("path", ["//evil.example/", "/\\evil.example", "///evil.example"])
def test_the_way_back_never_leads_elsewhere(closed, path):
    import socket

    with socket.create_connection(("127.0.0.1", closed.port), timeout=10) as bare:
        ask = f"GET {path}?token={TOKEN.replace(' ', '%20')} HTTP/1.1\r\nhost: x\r\n\r\n"
        bare.sendall(ask.encode())
        head = bare.recv(4096).decode().lower()
    if "location: " in head:
        location = head.split("location: ")[1].splitlines()[0]
        assert location.startswith("/") and not location.startswith(("//", "/\\"))


@pytest.mark.parametrize("path", ["/api/run", "/", "/api/pictures/0", "/api/nothing", "/static/x"])
def test_every_answer_says_what_a_browser_may_do(served, path):
    headers = served.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "access-control-allow-origin" not in headers


def test_the_map_alone_may_make_functions_of_text(served):
    for view in VIEWS:
        policy = served.get(view).headers["content-security-policy"]
        assert ("unsafe-eval" in policy) == (view == "/map")
        assert "script-src 'self'" in policy and "http" not in policy.replace("'self'", "")


def test_other_machines_are_not_let_in_without_a_token(finished):
    said = fail(finished, "serve", "--host", "0.0.0.0", "--no-make")
    assert "give --token" in said


def test_an_address_that_is_taken_is_said(finished, served):
    said = fail(finished, "serve", "--port", str(served.port), "--no-make")
    assert "--port 0 for any that is free" in said


def test_the_help_needs_no_server():
    told = CliRunner().invoke(app, ["serve", "--help"])
    assert told.exit_code == 0 and "--token" in told.output
