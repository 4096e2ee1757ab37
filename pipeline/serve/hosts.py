"""The names under which a server answers.

A page on any site could resolve its own name to the address of this server and read what is served
(DNS rebinding). The Host header of such a request holds the foreign name, so only known ones are
answered. An IP address cannot be rebound.
"""

import ipaddress
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from ...store import ConfigError

LOCAL = ("127.0.0.1", "localhost", "::1")
"""Names by which only this machine reaches itself."""

_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_.])?(:\d{1,5})?")


@dataclass(frozen=True, kw_only=True)
class Hosts:
    """The host names that are answered."""

    names: frozenset[str] = frozenset(LOCAL)
    any_address: bool = False
    """Whether requests to any IP address are answered, too."""

    @classmethod
    def of(cls, host: str, *, is_local: bool, allowed: Iterable[str] = ()) -> Self:
        """The names of a server that listens at a host; ConfigError if an allowed one is no name.

        A server that other machines reach answers to its addresses and to this machine's name.
        """
        own = () if is_local else (socket.gethostname(),)
        names = {*LOCAL, host, *own, *(_checked(name) for name in allowed)}
        return cls(names=frozenset(map(host_name, names)), any_address=not is_local)

    def answer(self, header: str) -> bool:
        """Whether a request with this Host header is answered."""
        name = host_name(header)
        return name in self.names or (self.any_address and _is_address(name))


LOCAL_HOSTS = Hosts()
"""The names of a server that only this machine reaches."""


def host_name(header: str) -> str:
    """The name in a Host header, without its port: `[::1]:80` gives `::1`."""
    if header.startswith("["):
        return header[1:].partition("]")[0].lower()
    if _is_address(header):  # IPv6 without brackets, as --host takes it
        return header.lower()
    return header.partition(":")[0].lower().removesuffix(".")


def port_of(header: str) -> str:
    """The port in a Host header, which browsers leave out for HTTP's own."""
    port = header.rpartition("]")[2].partition(":")[2]
    return port if port.isascii() and port.isdigit() else "80"


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _checked(name: str) -> str:
    if not _is_address(host_name(name)) and not _NAME.fullmatch(name.lower()):
        raise ConfigError(f"--allow-host must be a name such as photos.example, got {name!r}")
    return name
