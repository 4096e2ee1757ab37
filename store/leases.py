"""Locks in a bucket: an object that says who holds what, and until when unless it is renewed.

Clocks of machines may differ by less than what is left of a lease when it is renewed. Where they
differ by more, or an owner stands still for longer than its lease lasts, two may hold one at once:
what they make then must not mix, and does not, see `bucket`.
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

from . import objects
from .errors import StoreError

if TYPE_CHECKING:
    from upath import UPath

log = logging.getLogger(__name__)

LEASE_SECONDS = 60.0
"""How long after its owner's death something is held."""
RENEW_SECONDS = 15.0
"""Three renewals may fail before a lease is over."""
_PAUSE_SECONDS = 0.5
"""Between two looks at what another process holds."""

SUFFIX = ".lease"
_GUARD = ".next"
"""Added to the name of a lease that is over: who holds that may take it over."""
_WRITERS = "writers"
_COLLECTOR = "gc"


@contextlib.contextmanager
def lock(path: "UPath", *, wait: bool = True) -> Iterator[bool]:
    """Holds a lease while its owner lives; tells if it is held.

    Without `wait` a lease that another process holds yields False at once.
    """
    lease = _Lease(path.with_name(f"{path.name}{SUFFIX}"))
    while not lease.take():
        if not wait:
            yield False
            return
        time.sleep(_PAUSE_SECONDS)
    with lease.renewed():
        yield True


@contextlib.contextmanager
def writing(root: "UPath") -> Iterator[None]:
    """Says that a process writes to a store; waits while `collecting` is held.

    StoreError where the bucket lets two processes create the same object.
    """
    lease = _Lease(root / _WRITERS / f"{secrets.token_hex(8)}{SUFFIX}")
    if not lease.take_unseen() or lease.take_unseen():
        lease.release()
        raise StoreError(
            f"two processes could create one object of {root}, and would not see each other: its "
            "server must honour If-None-Match, as S3, MinIO, R2 and Google's do"
        )
    with lease.renewed():
        # Each announces itself before it looks for the other, so that one at least sees the other.
        while _is_held(root / f"{_COLLECTOR}{SUFFIX}"):
            time.sleep(_PAUSE_SECONDS)
        yield


@contextlib.contextmanager
def collecting(root: "UPath") -> Iterator[bool]:
    """Keeps new writers of a store waiting; False where one is at work."""
    with lock(root / _COLLECTOR, wait=False) as is_held:
        yield is_held and not any(map(_is_held, objects.sizes(root / _WRITERS)))


def is_over(path: "UPath") -> bool:
    """Whether a path is that of a lease whose owner is gone."""
    if not path.name.endswith((SUFFIX, _GUARD)):
        return False
    found = objects.find_json(path)
    return found is not None and _is_expired(found)


def _is_held(path: "UPath") -> bool:
    found = objects.find_json(path)
    return found is not None and not _is_expired(found)


def _is_expired(record: dict[str, Any]) -> bool:
    return record["expires"] <= time.time()


class _Lease:
    """One process' hold, or wish to hold, on one object."""

    def __init__(self, path: "UPath") -> None:
        self._path = path
        self._owner = secrets.token_hex(8)
        self._expires = 0.0
        self._is_done = threading.Event()

    def take(self) -> bool:
        """Whether it is held now. Of many that see an old one expired, one takes it over."""
        found = objects.find_json(self._path)
        if found is None:
            return self.take_unseen()
        if not _is_expired(found):
            return False
        guard = _Lease(self._path.with_name(f"{self._path.name}{_GUARD}"))
        if not guard.take():
            return False
        try:
            # Whoever held the guard before may have taken it over.
            if objects.find_json(self._path) != found:
                return False
            self._write()
            return True
        finally:
            guard.release()

    def take_unseen(self) -> bool:
        """Whether it is held now, where nobody holds it as far as one knows."""
        record = self._record()
        is_taken = objects.create_json(self._path, record)
        if is_taken:
            self._expires = record["expires"]
        return is_taken

    def _write(self) -> None:
        record = self._record()
        objects.write_json(self._path, record)
        self._expires = record["expires"]

    def _record(self) -> dict[str, Any]:
        return {
            "owner": self._owner,
            "host": socket.gethostname(),
            "process": os.getpid(),
            "expires": time.time() + LEASE_SECONDS,
        }

    @contextlib.contextmanager
    def renewed(self) -> Iterator[None]:
        """Renews it from a thread, and gives it back at the end."""
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
                    log.warning("%s was taken over while this process stood still", self._path)
                    return
                self._write()
            except StoreError as error:
                log.warning("%s is not renewed yet: %s", self._path, error)

    def release(self) -> None:
        """Lets others have it at once. Where that fails they wait until it is over."""
        try:
            if self._is_ours():
                objects.remove([self._path])
        except StoreError as error:
            log.warning("%s stays until it is over: %s", self._path, error)

    def _is_ours(self) -> bool:
        """Whether nobody took it over, which only what is over allows."""
        if time.time() < self._expires:
            return True
        found = objects.find_json(self._path)
        return found is not None and found["owner"] == self._owner
