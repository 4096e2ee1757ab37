"""The model of a server that runs on the same run: it embeds a query without loading torch."""

import base64
import http.client
import json
import logging
import socket
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from ..view.query import Example
from .announcement import Announcement, find_announcement

if TYPE_CHECKING:
    import numpy as np

    from ..run import Run

log = logging.getLogger(__name__)

_STATE_SECONDS = 2.0
"""Seconds for a server to report its state: one that hangs is not waited for."""

_VECTOR_SECONDS = 30.0
"""Seconds for a server to send a vector: the first one loads the model."""

_MAX_ANSWER_BYTES = 2**20
"""Bytes of the longest answer: 4 for each number of a vector, as base64."""


class ServerModel:
    """Asks a server for vectors, and stops once it has failed."""

    def __init__(self, announcement: Announcement, versions: Mapping[str, str]) -> None:
        self._announcement = announcement
        self._versions = versions
        self.is_working = True
        """Whether all questions so far were answered."""
        self.notes: list[str] = []
        """Remarks on the texts that were embedded, e.g. that the end of one does not count."""

    def embed(self, example: Example, space: str) -> "np.ndarray | None":
        """The vector (1, d) of an image or a text in a space; None if there is no answer."""
        if not self.is_working or example.kind not in ("image", "text"):
            return None
        body = example.value.encode() if example.kind == "text" else example.value
        if not isinstance(body, bytes):
            return None
        try:
            self._require_ready()
            vector, notes = self._ask(body, {"kind": example.kind, "space": space})
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
            log.debug("the server gave no vector: %s", error)
            self.is_working = False
            return None
        self.notes += notes
        return vector

    def _require_ready(self) -> None:
        """OSError unless the server answers at once, and can load the model."""
        state = self._request("GET", "/api/state", b"", _STATE_SECONDS)
        if state["model"]["state"] == "failed":
            raise OSError("its model cannot be loaded")

    def _ask(self, body: bytes, options: Mapping[str, str]) -> "tuple[np.ndarray, list[str]]":
        import numpy as np

        query = urlencode({**options, **self._versions})
        answer = self._request("POST", f"/api/vector?{query}", body, _VECTOR_SECONDS)
        vector = np.frombuffer(base64.b64decode(answer["vector"], validate=True), "<f4")[None]
        if not vector.size or not np.isfinite(vector).all():
            raise ValueError("it is no vector of finite numbers")
        return vector, [str(note) for note in answer["notes"]]

    def _request(self, method: str, path: str, body: bytes, seconds: float) -> Any:
        """The JSON that the server answers."""
        connection = _Connection(self._announcement.address, seconds)
        headers = {"content-type": "application/octet-stream"}
        if self._announcement.token is not None:
            headers["authorization"] = f"Bearer {self._announcement.token}"
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            answer = response.read(_MAX_ANSWER_BYTES)
        finally:
            connection.close()
        if response.status != http.HTTPStatus.OK:
            raise OSError(f"it answers {response.status}")
        return json.loads(answer)


def find_server_model(run: "Run", space: str) -> ServerModel | None:
    """The model of a server of this user that runs on a run, if there is one."""
    announcement = find_announcement(run.store, run.record.name)
    if announcement is None:
        return None
    slots = ("embeddings", "heads") if space == "features" else ("embeddings",)
    return ServerModel(announcement, {slot: run.artifact(slot).version for slot in slots})


class _Connection(http.client.HTTPConnection):
    """A connection to a socket of this machine."""

    def __init__(self, address: str, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._address = address

    def connect(self) -> None:
        """Opens the socket."""
        if sys.platform == "win32":
            raise OSError("Python has no such sockets on Windows")
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._address)
