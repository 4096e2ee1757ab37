"""What the libraries behind fsspec raise, and what of it may pass by itself."""

import errno
import sys

_CLASSES = (
    ("aiohttp", "ClientError"),
    ("botocore.exceptions", "BotoCoreError"),
    ("botocore.exceptions", "ClientError"),
    ("botocore.parsers", "ResponseParserError"),
    ("gcsfs.retry", "HttpError"),
    ("google.auth.exceptions", "GoogleAuthError"),
)
"""Errors that are no OSError, of libraries that may not be installed."""

_NO_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError")
_OUR_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


def remote_errors() -> tuple[type[Exception], ...]:
    """All that reading an address may raise, of the libraries that are loaded by now."""
    loaded = [(sys.modules.get(module), name) for module, name in _CLASSES]
    found = [getattr(module, name, None) for module, name in loaded]
    return (OSError, *(one for one in found if one is not None))


def is_passing(error: BaseException) -> bool:
    """Whether another try may go well: not where the server knows what is asked for and denies it.

    fsspec's reader of the web says that an address is not found whatever went wrong there; why
    stands behind it.
    """
    cause = error.__cause__
    if isinstance(error, FileNotFoundError):
        is_web = type(cause).__module__.startswith("aiohttp") or isinstance(cause, TimeoutError)
        return cause is not None and is_web and is_passing(cause)
    if isinstance(error, PermissionError | IsADirectoryError | NotADirectoryError):
        return False
    status = getattr(error, "status", None)
    if isinstance(status, int):
        return status in (408, 429) or status >= 500
    return not lacks_credentials(error)


def lacks_credentials(error: BaseException) -> bool:
    """Whether nothing was found that says who asks."""
    return type(error).__name__ in _NO_CREDENTIALS


def is_bucket_missing(error: BaseException) -> bool:
    """Whether not only the object is not there, but nothing that could hold it.

    S3 and Google's servers say it in the same words.
    """
    return isinstance(error, FileNotFoundError) and "bucket does not exist" in str(error)


def is_our_disk(error: BaseException) -> bool:
    """Whether it is this machine that has no room, so that the address is not to blame."""
    return isinstance(error, OSError) and error.errno in _OUR_DISK


def why(error: BaseException) -> str:
    """What went wrong, in a few words on one line."""
    told = error.__cause__ if isinstance(error, FileNotFoundError) and error.__cause__ else error
    return " ".join(f"{type(told).__name__}: {told}".strip(": ").split())[:200]
