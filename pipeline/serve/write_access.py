"""Lets only some requests change anything: those of the page itself, and those of scripts.

A page on another site can make a browser send requests here, with the cookie of this server. Such a
request says where it comes from in `Sec-Fetch-Site` and `Origin`, and it cannot have the content
type of JSON unless this server allows that, which it does not.
"""

from starlette.requests import Request

from ...store import CppPipeError
from .guard import IS_SCRIPT


class Forbidden(CppPipeError, PermissionError):
    """A request that may not change anything."""


def require_write_access(request: Request, *, is_editable: bool) -> None:
    """Raises Forbidden for a request that must not change anything."""
    headers = request.headers
    if not is_editable:
        raise Forbidden("this server is read-only: start it with `cpp-pipe serve --edit` to decide")
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site not in (None, "same-origin"):
        raise Forbidden("only the page of this server may decide: the request is another site's")
    host = headers.get("host", "").lower()
    if origin is not None and origin.lower() not in (f"http://{host}", f"https://{host}"):
        raise Forbidden(
            f"only the page of this server may decide: the request comes from {origin[:100]!r}, "
            f"and this is {host[:100]!r}"
        )
    if site is None and origin is None and not request.scope[IS_SCRIPT]:
        raise Forbidden("a script must send its token as `Authorization: Bearer TOKEN` to decide")
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Forbidden("a decision must be sent with the content type application/json")
