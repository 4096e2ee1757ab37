"""Sending answers to clients that read slowly or not at all, within a limit of memory.

An answer is handed to its connection in pieces, the next when the client has read most of the last.
An answer is kept whole while it waits, and counts once however many clients read it: the page's
files and the answers that are the same for all cost nothing more per client. Over the limits a
request is answered with 503, and the client must send it again.
"""

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_REQUESTS = 512
"""Requests that are answered at the same time. A browser sends six to a server."""

MAX_WAITING_BYTES = 32 * 2**20
"""Bytes of all answers that wait for their clients; each answer counts once."""

PIECE_BYTES = 2**15
"""Bytes that are handed to a connection at a time."""

RETRY_SECONDS = 2
"""Seconds after which a client that found no room may try again."""


class Delivery:
    """Sends the answers of an application in pieces, and rejects what is over the limits."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_requests: int = MAX_REQUESTS,
        max_waiting_bytes: int = MAX_WAITING_BYTES,
    ) -> None:
        self._app = app
        self._max_requests = max_requests
        self._max_waiting_bytes = max_waiting_bytes
        self._requests = 0
        self._readers: dict[int, int] = {}
        """The number of clients that each waiting answer waits for, by the `id` of its bytes."""
        self._waiting_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._requests >= self._max_requests:
            await busy(scope, receive, send)
            return
        head: Message = {}

        async def send_in_pieces(message: Message) -> None:
            nonlocal head
            if message["type"] == "http.response.start":
                head = message  # sent once it is known that there is room for the body
                return
            assert not message.get("more_body", False), "every answer has one body"
            body = message.get("body", b"")
            if not self._has_room(body):
                await busy(scope, receive, send)
                return
            self._add(body)
            try:
                await send(head)
                await _send_pieces(body, send)
            finally:
                self._remove(body)

        self._requests += 1
        try:
            await self._app(scope, receive, send_in_pieces)
        finally:
            self._requests -= 1

    def _has_room(self, body: bytes) -> bool:
        is_alone = not self._readers  # then even an answer over the limit is sent
        waiting = self._waiting_bytes + len(body)
        return is_alone or id(body) in self._readers or waiting <= self._max_waiting_bytes

    def _add(self, body: bytes) -> None:
        if id(body) not in self._readers:
            self._waiting_bytes += len(body)
        self._readers[id(body)] = self._readers.get(id(body), 0) + 1

    def _remove(self, body: bytes) -> None:
        self._readers[id(body)] -= 1
        if not self._readers[id(body)]:
            del self._readers[id(body)]
            self._waiting_bytes -= len(body)


async def _send_pieces(body: bytes, send: Send) -> None:
    for first in range(0, max(1, len(body)), PIECE_BYTES):
        end = first + PIECE_BYTES
        piece = {"type": "http.response.body", "body": body[first:end]}
        await send({**piece, "more_body": end < len(body)})


async def busy(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers a request with 503, because there is no room for it now."""
    answer = JSONResponse(
        {"detail": f"the server is busy: try again in {RETRY_SECONDS} seconds"},
        503,
        {"retry-after": str(RETRY_SECONDS), "connection": "close"},
    )
    await answer(scope, receive, send)
