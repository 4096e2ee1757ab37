"""Locks in a bucket: objects that name an owner and the time at which its lease expires.

An owner renews its lease while it lives. Clocks of machines may differ: a lease that has expired by
the clock of this one is taken over only if it has by that of the bucket, which dates each object.
Two processes may still hold one lease if its owner is suspended for longer than that. Even then,
what they make does not mix: see `bucket`.
"""

import contextlib
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from . import locks, objects
from .errors import StoreError

if TYPE_CHECKING:
    from upath import UPath

log = logging.getLogger(__name__)

LEASE_SECONDS = 60.0
"""How long a lease outlives its owner."""
RENEW_SECONDS = 15.0
"""Three renewals may fail before a lease expires."""
_PAUSE_SECONDS = 0.5
"""Pause between two attempts to take a lease that another process holds."""

SUFFIX = ".lease"
_GUARD = ".next"
"""Suffix of a second lease, whose holder may take over the expired one."""
_WRITERS = "writers"
_COLLECTOR = "gc"


@contextlib.contextmanager
def lock(path: "UPath", *, wait: bool = True) -> Iterator[bool]:
    """Holds a lease, and renews it meanwhile.

    Yields whether it is held: without `wait` False at once if another process holds it.
    """
    path = path.with_name(f"{path.name}{SUFFIX}")
    lease, pauses = _Lease(path), _pauses(path)
    while not lease.take():
        if not wait:
            yield False
            return
        next(pauses)
    with lease.renewed():
        yield True


@contextlib.contextmanager
def writing(root: "UPath") -> Iterator[None]:
    """Announces that a process writes to a store; waits while `collecting` is held.

    StoreError if the bucket lets two processes create the same object.
    """
    path = root / _WRITERS / f"{secrets.token_hex(8)}{SUFFIX}"
    lease = _Lease(path)
    if not lease.create() or lease.create():
        lease.release()
        raise StoreError(
            f"the server of {root} lets two processes create the same object: use a server that "
            "honours If-None-Match, such as S3, MinIO, R2 or Google's"
        )
    with lease.renewed():
        # Both sides announce themselves before they look, so that at least one sees the other.
        collector = root / f"{_COLLECTOR}{SUFFIX}"
        pauses = _pauses(collector)
        while _is_held(collector, path):
            next(pauses)
        yield


@contextlib.contextmanager
def collecting(root: "UPath") -> Iterator[bool]:
    """Makes new writers of a store wait; yields False if a writer is at work."""
    own = root / f"{_COLLECTOR}{SUFFIX}"
    with lock(root / _COLLECTOR, wait=False) as is_held:
        yield is_held and not any(_is_held(path, own) for path in objects.sizes(root / _WRITERS))


def _pauses(path: "UPath") -> Iterator[None]:
    """Pauses between attempts to take a lease; says once, after a while, who holds it."""
    began, is_said = time.monotonic(), False
    while True:
        if not is_said and time.monotonic() - began >= locks.SILENT_SECONDS:
            log.warning("waiting for %s that holds the lock %s", _holder(path), path)
            is_said = True
        time.sleep(_PAUSE_SECONDS)
        yield


def _holder(path: "UPath") -> str:
    """The process that holds a lease, in words."""
    record = _find(path) or {}
    if "host" in record and "process" in record:
        return f"process {record['process']} on {record['host']}, perhaps a suspended one,"
    return "another command, perhaps a suspended one,"


def is_expired(path: "UPath") -> bool:
    """Whether a path is that of a lease that has expired."""
    if not path.name.endswith((SUFFIX, _GUARD)):
        return False
    record = _find(path)
    return record is not None and _has_expired(record)


def _is_held(path: "UPath", own: "UPath") -> bool:
    """Whether somebody holds a lease; `own` is a lease that this process has just written."""
    record = _find(path)
    return record is not None and not (_has_expired(record) and _is_over(path, record, own))


def _find(path: "UPath") -> dict[str, Any] | None:
    """The record of a lease, or None if there is none; StoreError if the object is no lease."""
    record = objects.find_json(path)
    if record is None:
        return None
    is_lease = isinstance(record, dict) and isinstance(record.get("owner"), str)
    if is_lease and isinstance(record.get("expires"), int | float):
        return record
    raise StoreError(
        f"{path} is damaged: it names no owner, or no time at which it expires; remove it while no "
        "command writes to the store"
    )


def _has_expired(record: dict[str, Any]) -> bool:
    return record["expires"] <= time.time()


def _is_over(path: "UPath", record: dict[str, Any], own: "UPath") -> bool:
    """Whether a lease has expired by the bucket's clock, which dated it, and then `own`.

    True where nothing tells: leases of earlier versions do not say when they were written.
    """
    began, now = objects.written_seconds(path), objects.written_seconds(own)
    written = record.get("written")
    if began is None or now is None or not isinstance(written, int | float):
        return True
    return now - began >= record["expires"] - written


class _Lease:
    """A lease that this process holds or wants."""

    def __init__(self, path: "UPath") -> None:
        self._path = path
        self._owner = secrets.token_hex(8)
        self._expires = 0.0
        self._is_done = threading.Event()

    def take(self) -> bool:
        """Takes it if it is free or expired; of several that see it expire, one succeeds."""
        seen = _find(self._path)
        if seen is None:
            return self.create()
        if not _has_expired(seen):
            return False
        path = self._path.with_name(f"{self._path.name}{_GUARD}")
        guard = _Lease(path)
        if not guard.take():
            return False
        try:
            # An earlier holder of the guard may have taken it over.
            if not _is_over(self._path, seen, path) or _find(self._path) != seen:
                return False
            self._write()
            return True
        finally:
            guard.release()

    def create(self) -> bool:
        """Takes it by creating its object; False if the object exists."""
        record = self._record()
        is_created = objects.create_json(self._path, record)
        if is_created:
            self._expires = record["expires"]
        return is_created

    def _write(self) -> None:
        record = self._record()
        objects.write_json(self._path, record)
        self._expires = record["expires"]

    def _record(self) -> dict[str, Any]:
        now = time.time()
        return {
            "owner": self._owner,
            "host": socket.gethostname(),
            "process": os.getpid(),
            "written": now,
            "expires": now + LEASE_SECONDS,
        }

    @contextlib.contextmanager
    def renewed(self) -> Iterator[None]:
        """Renews it from a thread, and releases it at the end."""
        thread = threading.Thread(target=self._renew, name=f"lease {self._path.name}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._is_done.set()
            thread.join()
            self.release()

    def _renew(self) -> None:
        while not self._is_done.wait(RENEW_SECONDS):
            try:
                if not self._is_ours():
                    log.warning("%s was taken over while this process was suspended", self._path)
                    return
                self._write()
            except StoreError as error:
                log.warning("%s could not be renewed yet: %s", self._path, error)

    def release(self) -> None:
        """Frees it at once; if that fails, others wait until it expires."""
        try:
            if self._is_ours():
                objects.remove([self._path])
        except StoreError as error:
            log.warning("%s stays until it expires: %s", self._path, error)

    def _is_ours(self) -> bool:
        """Whether nobody took it over, which is possible only once it has expired."""
        if time.time() < self._expires:
            return True
        record = _find(self._path)
        return record is not None and record["owner"] == self._owner
