"""A server of buckets on this machine, for tests: moto's, which knows S3's conditional writes."""

import contextlib
import json
import logging
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from upath import UPath

from cpp_pipe.store.objects import sizes
from cpp_pipe.store.paths import StorePath


@contextlib.contextmanager
def s3_server() -> Iterator[str]:
    """The address of a server that runs in this process."""
    from moto.moto_server.threaded_moto_server import ThreadedMotoServer
    from s3fs import S3FileSystem

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        # Another server may get the same port, and its client must not be one of this.
        S3FileSystem.clear_instance_cache()
        server.stop()


def use_server(patch: pytest.MonkeyPatch, address: str, folder: Path) -> None:
    """Lets this process, and those that it starts, find the server and nothing else of S3.

    Copies of what lies there go below `folder`.
    """
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION"):
        patch.delenv(name, raising=False)
    patch.setenv("AWS_ENDPOINT_URL", address)
    patch.setenv("AWS_ACCESS_KEY_ID", "tester")
    patch.setenv("AWS_SECRET_ACCESS_KEY", "not a secret")
    patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    patch.setenv("AWS_CONFIG_FILE", str(folder / "no-config"))
    patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "no-credentials"))
    patch.setenv("CPP_PIPE_CACHE", str(folder / "cache"))


def new_bucket() -> str:
    """The address of a folder in a bucket of its own."""
    from fsspec import filesystem

    name = f"test-{secrets.token_hex(6)}"
    filesystem("s3", use_listings_cache=False).mkdir(name)
    return f"s3://{name}/some/store"


def in_bucket(path: StorePath) -> UPath:
    """A path of a store, which lies in a bucket."""
    assert isinstance(path, UPath)
    return path


def below(path: StorePath) -> list[UPath]:
    """All objects below a path, sorted."""
    return list(sizes(in_bucket(path)))


def change_json(path: StorePath, **changes: Any) -> None:
    """Changes entries of a small file, as nothing of ours does."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
