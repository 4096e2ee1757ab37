"""A server of buckets for tests: moto, which supports S3's conditional writes."""

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
        # Another server may get the same port, and must not get a client of this one.
        S3FileSystem.clear_instance_cache()
        server.stop()


def use_server(patch: pytest.MonkeyPatch, address: str, folder: Path) -> None:
    """Points this process and its children at the server, away from any other S3.

    Copies of objects go below `folder`. A file system that was made for another server, or without
    credentials, would be used again: none is kept.
    """
    from s3fs import S3FileSystem

    S3FileSystem.clear_instance_cache()
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
    """The path of a store, asserted to be in a bucket."""
    assert isinstance(path, UPath)
    return path


def below(path: StorePath) -> list[UPath]:
    """All objects below a path, sorted."""
    return list(sizes(in_bucket(path)))


def change_json(path: StorePath, **changes: Any) -> None:
    """Changes entries of a small file in place, like one without a digest."""
    value = {**json.loads(path.read_text()), **changes}
    value.pop("digest", None)
    path.write_text(json.dumps(value))
