"""Who may connect, and what a browser may do with the answers."""

import json
import shutil
import socket
from urllib.parse import quote

import httpx
import pytest
from typer.testing import CliRunner

from cpp_pipe.pipeline.commands.app import app
from cpp_pipe.pipeline.serve.guard import COOKIE, VIEWS
from cpp_pipe.pipeline.serve.hosts import Hosts, host_name
from cpp_pipe.store import ConfigError

from .server import serve

TOKEN = "a word that nobody guesses"


@pytest.fixture(scope="module")
def closed(finished):
    """A server that requires a token."""
    with serve(finished, token=TOKEN) as server:
        yield server


FOREIGN = [
    "evil.example",
    "evil.example:80",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "evil.example/127.0.0.1",
    "127.0.0.1@evil.example",
    "xlocalhost",
    "192.0.2.1",
    "[::2]",
    "0.0.0.0",
    "",
]


@pytest.mark.parametrize("host", FOREIGN)
def test_a_foreign_host_name_is_rejected_with_and_without_a_token(served, closed, host):
    for server in (served, closed):
        for path in ("/api/run", "/", "/static/main.js"):
            answer = server.client.get(f"{path}?token={TOKEN}", headers={"host": host})
            assert answer.status_code == 403 and "rows" not in answer.text
            assert "--allow-host NAME" in answer.text and "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:81", "localhost.", "127.0.0.1:9", "[::1]:8117"]
)
def test_the_names_of_this_machine_are_accepted(served, host):
    assert served.client.get("/api/run", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host, name",
    [("[::1]:80", "::1"), ("::1", "::1"), ("A.b:1", "a.b"), ("", ""), ("[::1", "::1"), ("a.", "a")],
)
def test_a_host_name_is_read_without_its_port(host, name):
    assert host_name(host) == name


@pytest.mark.parametrize(
    "host, is_local, allowed, header, is_answered",
    [
        ("127.0.0.1", True, (), "10.0.0.7:8117", False),
        ("0.0.0.0", False, (), "10.0.0.7:8117", True),
        ("0.0.0.0", False, (), "[fe80::1]:8117", True),
        ("0.0.0.0", False, (), f"{socket.gethostname().upper()}:8117", True),
        ("0.0.0.0", False, (), "photos.example", False),
        ("0.0.0.0", False, ("Photos.example",), "photos.EXAMPLE:443", True),
        ("127.0.0.1", True, ("photos.example:443",), "photos.example", True),
        ("127.0.0.1", True, ("photos.example",), "a.photos.example", False),
        ("127.0.0.5", True, (), "127.0.0.5:8117", True),
    ],
)
def test_a_server_answers_to_its_own_and_to_allowed_names(
    host, is_local, allowed, header, is_answered
):
    hosts = Hosts.of(host, is_local=is_local, allowed=allowed)
    assert hosts.answer(header) == is_answered


@pytest.mark.parametrize("name", ["", " ", "*", "http://a.example/", "a b", "-a", "a\n", "é"])
def test_an_invalid_host_name_cannot_be_allowed(name):
    with pytest.raises(ConfigError, match="--allow-host must be a name"):
        Hosts.of("127.0.0.1", is_local=True, allowed=[name])


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": TOKEN},
        {"authorization": "Basic " + TOKEN},
        {"cookie": "cpp_pipe_token_{port}=wrong"},
        {"cookie": f"cpp_pipe_token_{{port}}={TOKEN}"},
        {"cookie": "cpp_pipe_token_{port}="},
        {"cookie": "=;;\x01"},
        {"authorization": "Bearer é".encode("latin-1")},
    ],
)
@pytest.mark.parametrize("path", ["/", "/api/run", "/api/pictures/0", "/static/main.js", "/docs"])
def test_nothing_is_shown_without_the_token(closed, headers, path):
    headers = {
        name: value.replace("{port}", str(closed.port)) if isinstance(value, str) else value
        for name, value in headers.items()
    }
    for query in ("", "?token=", "?token=wrong", f"?other={TOKEN}", f"?TOKEN={TOKEN}"):
        answer = closed.client.get(path + query, headers=headers)
        assert answer.status_code == 401 and "cpp-pipe serve" in answer.text
        assert "set-cookie" not in answer.headers


@pytest.fixture(scope="module")
def deciding(finished, tmp_path_factory):
    """A server that requires a token and records decisions."""
    folder = tmp_path_factory.mktemp("deciding") / "artifacts"
    shutil.copytree(finished, folder)
    with serve(folder, token=TOKEN, is_editable=True) as server:
        yield server


OWN = {"sec-fetch-site": "same-origin", "origin": "http://127.0.0.1:{port}"}
BEARER = {"authorization": f"Bearer {TOKEN}"}


@pytest.mark.parametrize(
    "headers, is_allowed",
    [
        (OWN, True),
        ({"origin": "http://127.0.0.1:{port}"}, True),
        ({"origin": "HTTP://127.0.0.1:{port}"}, True),
        ({"sec-fetch-site": "same-origin"}, True),
        (BEARER, True),
        ({**OWN, **BEARER}, True),
        ({**OWN, "content-type": "Application/JSON; charset=utf-8"}, True),
        ({}, False),
        ({"authorization": "Bearer wrong"}, False),
        ({"sec-fetch-site": "none"}, False),
        ({**OWN, "sec-fetch-site": "cross-site"}, False),
        ({**OWN, "sec-fetch-site": "same-site"}, False),
        ({**OWN, "origin": "https://evil.example"}, False),
        ({**OWN, "origin": "http://127.0.0.1:1"}, False),
        ({**OWN, "origin": "http://127.0.0.1:{port}.evil.example"}, False),
        ({**OWN, "origin": "http://evil.example@127.0.0.1:{port}"}, False),
        ({**OWN, "origin": "null"}, False),
        ({**OWN, "origin": ""}, False),
        ({**BEARER, "origin": "https://evil.example"}, False),
        ({**BEARER, "sec-fetch-site": "cross-site"}, False),
        ({**OWN, "content-type": "text/plain"}, False),
        ({**OWN, "content-type": "application/x-www-form-urlencoded"}, False),
        ({**OWN, "content-type": "multipart/form-data; boundary=application/json"}, False),
        ({**OWN, "content-type": ""}, False),
        ({**BEARER, "content-type": "text/plain;application/json"}, False),
    ],
)
def test_only_the_page_and_scripts_with_the_token_can_decide(deciding, headers, is_allowed):
    with httpx.Client(base_url=deciding.client.base_url) as browser:
        browser.get("/", params={"token": TOKEN})
        seen = browser.get("/api/edits").json()["length"]
        answer = browser.post(
            "/api/edits",
            content=json.dumps({"op": "tag", "rows": [1], "value": "x", "seen": seen}),
            headers={
                "content-type": "application/json",
                **{name: value.format(port=deciding.port) for name, value in headers.items()},
            },
        )
        assert answer.status_code == (200 if is_allowed else 403), answer.text
        assert browser.get("/api/edits").json()["length"] == seen + is_allowed


def test_decisions_without_the_token_are_rejected(deciding):
    body = {"op": "tag", "rows": [1], "value": "x", "seen": 0}
    headers = {name: value.format(port=deciding.port) for name, value in OWN.items()}
    with httpx.Client(base_url=deciding.client.base_url) as stranger:
        for path in ("/api/edits", "/api/edits?token=wrong", "/api/keys"):
            assert stranger.post(path, json=body, headers=headers).status_code == 401
        foreign = {**headers, "host": "evil.example"}
        assert stranger.post("/api/edits", json=body, headers=foreign).status_code == 403


def test_the_address_of_a_script_may_hold_the_token(deciding):
    with httpx.Client(base_url=deciding.client.base_url) as script:
        seen = script.get("/api/edits", params={"token": TOKEN}).json()["length"]
        body = {"op": "tag", "rows": [1], "value": "x", "seen": seen}
        answer = script.post("/api/edits", params={"token": TOKEN}, json=body)
        assert answer.status_code == 200


def test_posts_are_rejected_before_they_are_read(closed):
    for path in ("/api/search", "/knn-service", "/metadata-service"):
        assert closed.client.post(path, content=b"x" * 1000).status_code == 401


def test_a_token_lets_scripts_in_by_a_header(closed):
    answer = closed.client.get("/api/run", headers={"authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200
    headers = {"authorization": f"bearer  {TOKEN}"}
    assert closed.client.get("/api/run", headers=headers).status_code == 200


def test_a_token_lets_scripts_in_by_the_address_without_a_redirect(closed):
    answer = closed.client.get("/api/run", params={"token": TOKEN})
    assert answer.status_code == 200 and "set-cookie" not in answer.headers
    # As clip-retrieval's client does, which takes an address and knows no headers.
    query = json.dumps({"text": "the digit three", "num_images": 3, "indice_name": "default"})
    url = f"/knn-service?token={quote(TOKEN)}"
    assert len(closed.client.post(url, content=query).json()) == 3
    assert closed.client.post("/knn-service?token=x", content=query).status_code == 401


@pytest.mark.parametrize("token", ["é & /", "漢字+%=;,", 'a"\\b', "a\u00a0b"])
def test_any_printable_token_can_be_sent_in_every_way(finished, token):
    with serve(finished, token=token) as server:
        headers = [(b"authorization", f"Bearer {token}".encode())]
        assert server.client.get("/api/state", headers=headers).status_code == 200
        assert server.get("/api/state", token=token).status_code == 200
        assert server.get("/", token=token).status_code == 303
        assert server.get("/api/state").status_code == 200, "the client has the cookie"


def test_a_browser_gets_a_cookie_and_an_address_without_the_token(closed):
    with httpx.Client(base_url=closed.client.base_url) as browser:
        answer = browser.get("/search", params={"text": "a & b", "not_row": [1, 2], "token": TOKEN})
        assert answer.status_code == 303 and answer.headers["cache-control"] == "no-store"
        assert answer.headers["location"] == "/search?text=a+%26+b&not_row=1&not_row=2"
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith(COOKIE.format(port=closed.port) + "=") and TOKEN not in cookie
        assert "HttpOnly" in cookie and "SameSite=strict" in cookie and "Secure" not in cookie
        assert browser.get("/api/run").status_code == 200
        # A second visit leaves no token in the address either, nor does an old one.
        for token in (TOKEN, "of yesterday"):
            answer = browser.get("/", params={"token": token})
            assert (answer.status_code, answer.headers["location"]) == (303, "/")


def test_two_servers_of_a_host_have_their_own_cookies(closed, finished):
    with serve(finished, token="another") as other, httpx.Client() as browser:
        for server, token in ((closed, TOKEN), (other, "another")):
            browser.get(f"http://127.0.0.1:{server.port}/", params={"token": token})
        for server in (closed, other):
            assert browser.get(f"http://127.0.0.1:{server.port}/api/run").status_code == 200


def test_cookies_of_other_programs_do_not_hide_ours(closed):
    with httpx.Client(base_url=closed.client.base_url) as browser:
        browser.get("/", params={"token": TOKEN})
        own = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
        for other in ('a={"b": 1}', "x", "=;", "a=b=c", 'q="'):
            for cookie in (f"{other}; {own}", f"{own}; {other}"):
                answer = httpx.get(
                    f"http://127.0.0.1:{closed.port}/api/state", headers={"cookie": cookie}
                )
                assert answer.status_code == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_the_page_of_another_site_can_request_nothing(served, closed, site):
    """Even without a token, and even if the browser has the cookie of another port."""
    with httpx.Client(base_url=closed.client.base_url) as browser:
        browser.get("/", params={"token": TOKEN})
        for client in (browser, served.client):
            headers = {"sec-fetch-site": site, "sec-fetch-mode": "no-cors"}
            for path in ("/api/run", "/api/pictures/0", "/static/main.js"):
                assert client.get(path, headers=headers).status_code == 403
            assert client.post("/api/search", headers=headers).status_code == 403
            assert client.get("/", headers=headers).status_code == 200
            for own in ("same-origin", "none"):
                headers = {"sec-fetch-site": own}
                assert client.get("/api/run", headers=headers).status_code == 200
        headers = {"sec-fetch-site": site, "authorization": f"Bearer {TOKEN}"}
        assert closed.client.get("/api/run", headers=headers).status_code == 200


def test_a_link_on_another_site_is_opened_again_from_our_page(closed):
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    answer = closed.client.get("/search", headers=headers)
    assert (answer.status_code, answer.headers["refresh"]) == (401, "0")
    headers["sec-fetch-site"] = "same-origin"
    assert "refresh" not in closed.client.get("/search", headers=headers).headers


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
    assert "unsafe" not in policy and "form-action 'none'" in policy
    assert headers["x-frame-options"] == "DENY"
    assert "access-control-allow-origin" not in headers


def test_browsers_cache_only_images_and_files_of_the_page(served, closed):
    for path in ("/api/run", "/api/state", "/indices-list", "/openapi.json", "/api/nothing"):
        assert served.get(path).headers["cache-control"] == "no-store"
        assert closed.client.get(path).headers["cache-control"] == "no-store"
    assert served.get("/api/pictures/0/original").headers["cache-control"] == "no-store"
    for path in ("/", "/static/main.js", "/static/plane/plane.js"):
        assert served.get(path).headers["cache-control"] == "no-cache"


def test_no_view_may_compile_text_or_set_styles(served):
    for view in VIEWS:
        policy = served.get(view).headers["content-security-policy"]
        assert "unsafe" not in policy
        assert "script-src 'self'" in policy and "http" not in policy.replace("'self'", "")


def test_the_help_needs_no_server():
    ran = CliRunner().invoke(app, ["serve", "--help"])
    assert ran.exit_code == 0 and "--token" in ran.output
