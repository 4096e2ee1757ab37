"""Addresses of stores: which are accepted, and the errors of those that cannot be used."""

import subprocess
import sys
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from upath import UPath

from cpp_pipe.store import ConfigError, Store, StoreError
from cpp_pipe.store.paths import is_in_bucket, store_path
from cpp_pipe.store.upkeep import collect, verify

from ..buckets import in_bucket
from .stores import publish

SCRIPT = """
import sys
sys.modules["s3fs"] = None
from cpp_pipe.store import Store
Store("s3://bucket/path")
"""


def test_an_address_is_not_taken_for_a_path(tmp_path):
    assert store_path("artifacts") == Path("artifacts")
    assert store_path(tmp_path) == tmp_path
    assert store_path(f"file://{tmp_path}") == tmp_path
    for address in ("s3://bucket/path", UPath("s3://bucket/path"), "S3://bucket/path/"):
        path = in_bucket(store_path(address))
        assert is_in_bucket(path) and str(path).rstrip("/") == "s3://bucket/path"
        assert path.storage_options["use_listings_cache"] is False
    assert str(Store(tmp_path).root / "x") == str(tmp_path / "x")


def test_an_address_keeps_its_storage_options():
    path = in_bucket(store_path(UPath("s3://bucket/path", endpoint_url="http://localhost:1")))
    assert path.storage_options["endpoint_url"] == "http://localhost:1"
    assert (path / "more").storage_options == path.storage_options


@pytest.mark.parametrize("address", ["nothing://bucket/path", "https://host/path", "s3://"])
def test_an_address_that_cannot_hold_a_store_is_refused(address):
    with pytest.raises(ConfigError, match=r"a store cannot lie at .* s3://bucket/path"):
        Store(address)


def test_an_address_turned_into_a_path_is_refused():
    with pytest.raises(
        ConfigError, match=r"is an address that was turned .* Store\('s3://bucket/path'\)"
    ):
        Store(Path("s3://bucket/path"))
    assert not Path("s3:").exists()


def test_an_address_without_one_of_its_slashes_is_no_folder_of_this_machine():
    """What was meant for a bucket was written to a local folder `s3:`."""
    with pytest.raises(ConfigError, match=r"an address has two, as in s3://bucket/path$"):
        Store("s3:/bucket/path")


def test_a_missing_package_is_named():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False
    )
    assert "ConfigError: the store s3://bucket/path" in done.stderr
    assert "pip install 'cpp-pipe[s3]'" in done.stderr


def test_a_missing_bucket_is_named(bucket):
    with pytest.raises(StoreError, match="there is no bucket 'absent' for s3://absent/path"):
        Store("s3://absent/path")


def test_missing_credentials_are_named(bucket, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setattr(fsspec.get_filesystem_class("s3"), "_cache", {})
    with pytest.raises(StoreError, match=r"no credentials for s3://.* set AWS_PROFILE"):
        Store(bucket)
    # In a notebook they are set now, and the same client would still have none.
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tester")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not a secret")
    assert Store(bucket).runs.names() == []


def test_a_denied_request_names_the_permissions_that_a_store_needs(bucket, monkeypatch):
    # The server then checks credentials, as a real one does.
    monkeypatch.setattr("moto.settings.INITIAL_NO_AUTH_ACTION_COUNT", 0)
    message = r"permission denied while reading .* list, read, write and delete"
    with pytest.raises(StoreError, match=message):
        Store(bucket)


def test_an_unreachable_server_is_named(bucket, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(fsspec.get_filesystem_class("s3"), "_cache", {})
    with pytest.raises(StoreError, match=r"reading s3://.* failed .*127\.0\.0\.1:1.*again"):
        Store(bucket)


def test_an_invalid_endpoint_is_named(bucket, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "nowhere at all")
    monkeypatch.setattr(fsspec.get_filesystem_class("s3"), "_cache", {})
    with pytest.raises(ConfigError, match="cannot be reached: Invalid endpoint: nowhere at all"):
        Store(bucket)


# Other file systems of fsspec.


@pytest.fixture
def cache(tmp_path, monkeypatch) -> None:
    """Copies go below the test's folder."""
    monkeypatch.setenv("CPP_PIPE_CACHE", str(tmp_path / "cache"))


def test_any_file_system_of_fsspec_can_hold_a_store(cache):
    store = Store("memory://some/store")
    with store.writing():
        store.runs.update("mine", versions={"features": publish(store).version})
    (found,) = Store("memory://some/store").artifacts()
    assert list(verify(found)) == []
    assert found.array("b-01", "z").tolist() == [[1, 1]] * 3
    assert collect(store) == []


class Careless(MemoryFileSystem):
    """A server that overwrites objects which must not exist yet."""

    protocol = "careless"

    def pipe_file(self, path, value, mode="overwrite", **kwargs):
        """Writes over any object."""
        super().pipe_file(path, value)


# upath warns about any file system for which it has no class of its own.
@pytest.mark.filterwarnings("ignore:UPath .* filesystem not explicitly implemented:UserWarning")
def test_a_server_that_lets_two_processes_create_one_object_is_refused(cache):
    fsspec.register_implementation("careless", Careless, clobber=True)
    store = Store("careless://some/store")
    with pytest.raises(StoreError, match="honours If-None-Match"), store.writing():
        raise AssertionError("writers would not see each other")
    assert not store.root.exists()
