"""Places for stores: the same tests run on a disk and in a bucket."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ..buckets import new_bucket, s3_server, use_server


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The address of a server of buckets."""
    with s3_server() as address:
        yield address


@pytest.fixture
def bucket(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An address in an empty bucket, and an empty cache on this machine."""
    use_server(monkeypatch, server, tmp_path)
    return new_bucket()


@pytest.fixture(params=["disk", "bucket"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> "str | Path":
    """The place of a store that does not exist yet, on a disk or in a bucket."""
    is_on_disk = request.param == "disk"
    return tmp_path / "artifacts" if is_on_disk else request.getfixturevalue("bucket")
