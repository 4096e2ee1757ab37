"""Who is let in, and what a browser may do with the answers."""

import socket

import httpx
import pytest
from typer.testing import CliRunner

from cpp_pipe.pipeline.commands.app import app
from cpp_pipe.pipeline.serve.guard import host_name
from cpp_pipe.pipeline.serve.routes_page import VIEWS

from ..cli import fail
from .server import serve

TOKEN = "a word that nobody guesses"


@pytest.fixture(scope="module")
def closed(finished):
    """A server that requires a token."""
    with serve(finished, token=TOKEN) as server:
        yield server


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
def test_a_foreign_host_name_is_rejected(served, host):
    answer = served.client.get("/api/run", headers={"host": host})
    assert answer.status_code == 403 and "rows" not in answer.text


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:81", "127.0.0.1:9", "[::1]:8117"])
def test_the_names_of_this_machine_are_accepted(served, host):
    assert served.client.get("/api/run", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host, name", [("[::1]:80", "::1"), ("A.b:1", "a.b"), ("", ""), ("[::1", "::1"), ("a", "a")]
)
def test_a_host_name_is_read_without_its_port(host, name):
    assert host_name(host) == name


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
    answer = closed.client.get(path, headers=headers)
    assert answer.status_code == 401 and "cpp-pipe serve" in answer.text


def test_posts_are_rejected_before_they_are_read(closed):
    for path in ("/api/search", "/knn-service", "/metadata-service"):
        assert closed.client.post(path, content=b"x" * 1000).status_code == 401


def test_a_token_lets_scripts_in_by_a_header(closed):
    answer = closed.client.get("/api/run", headers={"authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200
    # With a token any host name will do: that is what the token is for.
    headers = {"authorization": f"bearer {TOKEN}", "host": "photos.example"}
    assert closed.client.get("/api/run", headers=headers).status_code == 200


def test_a_browser_gets_a_cookie_and_an_address_without_the_token(closed):
    with httpx.Client(base_url=closed.client.base_url) as browser:
        answer = browser.get("/search", params={"text": "a & b", "token": TOKEN})
        assert answer.status_code == 303
        assert answer.headers["location"] == "/search?text=a+%26+b"
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie and "SameSite=strict" in cookie and TOKEN not in cookie
        assert browser.get("/api/run").status_code == 200


@pytest.mark.parametrize("path", ["//evil.example/", "/\\evil.example", "///evil.example"])
def test_the_redirect_never_leads_to_another_server(closed, path):
    with socket.create_connection(("127.0.0.1", closed.port), timeout=10) as connection:
        request = f"GET {path}?token={TOKEN.replace(' ', '%20')} HTTP/1.1\r\nhost: x\r\n\r\n"
        connection.sendall(request.encode())
        head = connection.recv(4096).decode().lower()
    if "location: " in head:
        location = head.split("location: ")[1].splitlines()[0]
        assert location.startswith("/") and not location.startswith(("//", "/\\"))


@pytest.mark.parametrize("path", ["/api/run", "/", "/api/pictures/0", "/api/nothing", "/static/x"])
def test_every_answer_has_a_strict_policy(served, path):
    headers = served.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "access-control-allow-origin" not in headers


def test_only_the_map_may_compile_text(served):
    for view in VIEWS:
        policy = served.get(view).headers["content-security-policy"]
        assert ("unsafe-eval" in policy) == (view == "/map")
        assert "script-src 'self'" in policy and "http" not in policy.replace("'self'", "")


def test_other_machines_need_a_token(finished):
    message = fail(finished, "serve", "--host", "0.0.0.0", "--no-make")
    assert "give --token" in message


def test_a_port_that_is_taken_is_reported(finished, served):
    message = fail(finished, "serve", "--port", str(served.port), "--no-make")
    assert "--port 0 for any that is free" in message


def test_the_help_needs_no_server():
    ran = CliRunner().invoke(app, ["serve", "--help"])
    assert ran.exit_code == 0 and "--token" in ran.output
