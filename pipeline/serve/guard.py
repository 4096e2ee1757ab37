"""Who may ask, and what a browser may do with the answers."""

import hashlib
import secrets
from collections.abc import Collection
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "cpp_pipe_token"

MAP_PAGE = "/map"
"""The one page whose drawing library makes functions of text, and writes styles of its own."""

_POLICY = (
    "default-src 'none'; script-src 'self'{script}; style-src 'self'{style}; "
    "img-src 'self' blob: data:; connect-src 'self'; font-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_STRICT = _POLICY.format(script="", style="")
_FOR_MAP = _POLICY.format(script=" 'unsafe-eval'", style=" 'unsafe-inline'")

_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
)


class Guard:
    """Turns away who has no token, where one is asked for, and who comes by a foreign name.

    Without a token only the names of this machine are answered: else a page anywhere could have
    its own name lead here, and read what is served (DNS rebinding).
    """

    def __init__(self, app: ASGIApp, token: str | None, hosts: Collection[str]) -> None:
        self._app = app
        self._token = token
        self._hosts = frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, or turns it away."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                policy = _FOR_MAP if scope["path"] == MAP_PAGE else _STRICT
                extra = [*_HEADERS, (b"content-security-policy", policy.encode())]
                message["headers"] = [*message["headers"], *extra]
            await send(message)

        turned_away = self._turn_away(scope, headers)
        await (turned_away or self._app)(scope, receive, send_guarded)

    def _turn_away(self, scope: Scope, headers: Headers) -> ASGIApp | None:
        """What answers in place of the application, if anything does."""
        if self._token is None:
            if name_of(headers.get("host", "")) in self._hosts:
                return None
            return PlainTextResponse(
                "this server answers to the names of its own machine alone; --token lets others "
                "in\n",
                status_code=403,
            )
        if self._is_known(headers):
            return None
        given = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        if "token" in given and _equal(given["token"], self._token):
            return self._welcome(scope, given)
        return PlainTextResponse(
            "a token is needed: open the address that `cpp-pipe serve` printed, or send "
            "`Authorization: Bearer TOKEN`\n",
            status_code=401,
            headers={"www-authenticate": "Bearer"},
        )

    def _is_known(self, headers: Headers) -> bool:
        assert self._token is not None, "there is a token where one is asked for"
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and _equal(given.strip(), self._token):
            return True
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return cookie is not None and _equal(cookie.value, _digest(self._token))

    def _welcome(self, scope: Scope, given: dict[str, str]) -> ASGIApp:
        """The same address without the token, which a cookie stands for from now on."""
        assert self._token is not None, "there is a token where one is asked for"
        rest = urlencode({name: value for name, value in given.items() if name != "token"})
        # A path that begins with two slashes would be an address elsewhere.
        path = "/" + scope["path"].lstrip("/\\")
        response = RedirectResponse(f"{path}?{rest}" if rest else path, status_code=303)
        response.set_cookie(COOKIE, _digest(self._token), httponly=True, samesite="strict")
        return response


def name_of(host: str) -> str:
    """The name in a Host header, without its port: `[::1]:80` is `::1`."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def _equal(given: str, wanted: str) -> bool:
    return secrets.compare_digest(given.encode("utf-8", "replace"), wanted.encode())


def _digest(token: str) -> str:
    return hashlib.sha256(b"cpp-pipe serve " + token.encode()).hexdigest()
