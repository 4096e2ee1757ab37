"""No answer tells a path of the server, for any request and any damage."""

import os
import shutil
from pathlib import Path

import httpx
import pytest

from cpp_pipe.pipeline.serve.shortened_paths import PathShortener, split_path
from cpp_pipe.store import Store

from ...stages.small_models import mobile_clip_flags
from ...waiting import wait_until
from ..cli import succeed
from .server import Served, serve
from .test_images import encoded
from .test_schema import OPERATIONS

HOME = os.path.expanduser("~")


@pytest.mark.parametrize(
    "text, shortened",
    [
        ("/srv/my photos/a b/1.tar was changed", "a b/1.tar was changed"),
        ("cannot read '/srv/my photos/1.tar' (gone)", "cannot read '1.tar' (gone)"),
        ("[Errno 2] No such file: '/etc/x/y.json'", "[Errno 2] No such file: 'y.json'"),
        ("a.json:/etc/x/y, /z; (/a/b) `/c/d/`", "a.json:y, z; (b) `d/`"),
        ("--store=/data/x --model /m/n.safetensors", "--store=x --model n.safetensors"),
        ("file:///srv/my photos/1.tar", "1.tar"),
        ("simplecache::file:///data/x/1.tar", "simplecache::1.tar"),
        (r"C:\Users\ann\x.tar is gone", "x.tar is gone"),
        (r"\\server\share\x.tar and D:/a/b.tar", "x.tar and b.tar"),
        ("s3://bucket/a/b.tar", "s3://bucket/a/b.tar"),
        ("https://a.example/b?c=/d", "https://a.example/b?c=d"),
        ("run `cpp-pipe map` for 3/4 of a/b, and ../c or ./d", None),
        ("embeddings/0a/parts/x.npy, data/srv/my photos/x", None),
        ("/ is no folder", None),
        ("", None),
    ],
)
def test_absolute_paths_in_a_text_are_cut(text, shortened):
    paths = PathShortener({"/srv/my photos", "/srv", "/", ""})
    assert paths.shorten(text) == (text if shortened is None else shortened)
    assert paths.shorten_all({text: [text, 1, None]}) == {text: [paths.shorten(text), 1, None]}


@pytest.mark.parametrize(
    "place, folder, name",
    [
        ("/a/b/c.tar", "/a/b", "c.tar"),
        ("/a/b/", "/a", "b"),
        ("s3://bucket/c.tar", "s3://bucket", "c.tar"),
        ("c.tar", "", "c.tar"),
        (r"C:\a\c.tar", r"C:\a", "c.tar"),
        ("", "", ""),
    ],
)
def test_a_place_has_a_folder_and_a_name(place, folder, name):
    assert split_path(place) == (folder, name)


GIVEN = (
    {},
    {"grouping": "tree", "key": "x", "row": "3", "size": "1280", "text": "the digit three"},
    {"grouping": "/etc/passwd", "key": "/etc", "shard": "/etc", "row": "60", "vector": "AAAA"},
)


def requests_of(path: str) -> list[tuple[str, dict[str, str]]]:
    """Addresses for a path of the description: valid ones, and ones that are refused."""
    rows = ("0", "25", "60", "%2Fetc%2Fpasswd")
    names = [path.replace("{row}", row).replace("{cluster}", row) for row in rows]
    return [(name, given) for name in dict.fromkeys(names) for given in GIVEN]


BODIES = (b"", b"{}", b'{"text": "a"}', b'{"ids": [0, 59]}', b'{"image": "AAAA"}', encoded(9, 9))


def ask_everything(server: Served, secrets: set[str], *, but: str = "") -> None:
    """Asks every endpoint, page and file; no answer may hold one of the texts."""

    def check(answer: httpx.Response) -> None:
        sent = answer.content.decode("utf-8", "replace") + str(answer.headers)
        for secret in secrets:
            assert secret not in sent, f"{answer.request.url} tells {secret}: {answer.text[:500]}"

    for method, path in OPERATIONS:
        if path == but:
            continue
        if method == "GET":
            for address, given in requests_of(path):
                check(server.client.get(address, params=given))
        else:
            for body in BODIES:
                check(server.client.post(path, content=body))
    for path in ("/", "/docs", "/openapi.json", "/static/main.js", "/static/x", "/nothing"):
        check(server.get(path))


def secrets_of(store: Path) -> set[str]:
    """Paths that no answer may tell: of the store, its shards, this folder and the home."""
    sources = Store(store).runs.read("default").sources.values()
    folders = {str(Path(source).parent) for source in sources}
    return {str(store), str(store.resolve()), os.getcwd(), HOME, *folders}


def test_no_answer_of_a_sound_run_tells_a_path(own_store):
    with serve(own_store) as server:
        server.json("/api/evaluation")
        wait_until(lambda: server.json("/api/evaluation")["state"] != "working", "scored", 60)
        ask_everything(server, secrets_of(own_store))


@pytest.mark.parametrize(
    "kind, how",
    [
        ("embeddings", "damaged"),
        ("embeddings", "gone"),
        ("features", "damaged"),
        ("assignments", "damaged"),
        ("index", "damaged"),
        ("hierarchy", "damaged"),
    ],
)
def test_no_answer_of_a_broken_run_tells_a_path(own_store, kind, how, caplog):
    files = [file for file in own_store.glob(f"{kind}/*/parts/*") if file.suffix != ".json"]
    assert files
    for file in files:
        file.unlink()
        if how == "damaged":
            file.write_bytes(b"PAR1 nothing")
    with serve(own_store) as server:
        # Scores are made by a process of their own, which takes seconds.
        ask_everything(server, secrets_of(own_store), but="/api/evaluation")
        if kind == "assignments":
            server.json("/api/evaluation")
            wait_until(lambda: server.json("/api/evaluation")["state"] != "working", "scored", 60)
            assert server.json("/api/evaluation")["state"] == "absent"
            ask_everything(server, secrets_of(own_store))
    if how == "damaged":
        assert str(own_store) in caplog.text, "the log of the server tells the path"


def test_no_answer_tells_a_path_if_shards_and_store_are_gone(own_store, caplog):
    secrets = secrets_of(own_store)
    sources = Store(own_store).runs.read("default").sources.values()
    with serve(own_store) as server:
        for source in sources:
            Path(source).unlink()
        answer = server.get("/api/pictures/3")
        assert answer.status_code == 404 and "cannot be read from" in answer.json()["detail"]
        shutil.rmtree(own_store)
        server.current.refresh()
        assert "no longer holds a run" in server.json("/api/state")["trouble"]
        ask_everything(server, secrets, but="/api/evaluation")
    assert str(own_store) in caplog.text


def test_no_answer_tells_the_paths_of_a_folder_and_a_model(tmp_path, shared):
    folder, store = tmp_path / "Anna's photos (1)" / "summer", tmp_path / "artifacts"
    (folder / "sea").mkdir(parents=True)
    for number in range(24):
        (folder / "sea" / f"{number}.jpg").write_bytes(encoded(40, 30))
    (folder / "broken.jpg").write_bytes(b"no image")
    model = mobile_clip_flags(shared)
    succeed(store, "embed", "--images", folder, *model, "--max-skipped", "0.5")
    succeed(store, "assign", "--k", "2")
    with serve(store) as server:
        secrets = {str(folder), str(folder.parent), "Anna's", str(shared / "models"), str(tmp_path)}
        assert server.json("/api/images/3")["source"] == "summer"
        assert server.get("/api/pictures/3").status_code == 200
        for path in (folder / "sea").iterdir():
            path.write_bytes(encoded(41, 31))
        assert server.get("/api/pictures/3?size=1280").status_code == 404
        ask_everything(server, secrets | secrets_of(store), but="/api/evaluation")
