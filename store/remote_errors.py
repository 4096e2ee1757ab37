"""Errors of the libraries behind fsspec, and which of them are transient."""

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
"""Errors that are not an OSError, of libraries that may not be installed."""

_NO_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError")
_LOCAL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


def remote_errors() -> tuple[type[Exception], ...]:
    """The errors that reading an address may raise, of the libraries that are loaded."""
    loaded = [(sys.modules.get(module), name) for module, name in _CLASSES]
    classes = [getattr(module, name, None) for module, name in loaded]
    return (OSError, *(error for error in classes if error is not None))


def is_transient(error: BaseException) -> bool:
    """Whether another try may succeed: not if the server understood the request and refused it.

    For the web fsspec raises FileNotFoundError whatever went wrong; its cause says what did.
    """
    cause = error.__cause__
    if isinstance(error, FileNotFoundError):
        is_web = type(cause).__module__.startswith("aiohttp") or isinstance(cause, TimeoutError)
        return cause is not None and is_web and is_transient(cause)
    if isinstance(error, PermissionError | IsADirectoryError | NotADirectoryError):
        return False
    status = getattr(error, "status", None)
    if isinstance(status, int):
        return status in (408, 429) or status >= 500
    return not lacks_credentials(error)


def lacks_credentials(error: BaseException) -> bool:
    """Whether no credentials were found."""
    return type(error).__name__ in _NO_CREDENTIALS


def forget_clients(error: BaseException, protocol: str) -> None:
    """Opens new clients of a protocol after an error of credentials: they may be set by then.

    fsspec uses a client again, with the credentials that it found when it was made.
    """
    if lacks_credentials(error) or isinstance(error, PermissionError):
        from fsspec import get_filesystem_class

        get_filesystem_class(protocol).clear_instance_cache()


def is_bucket_missing(error: BaseException) -> bool:
    """Whether the bucket does not exist, and not only the object.

    S3's and Google's servers use the same words.
    """
    return isinstance(error, FileNotFoundError) and "bucket does not exist" in str(error)


def is_local_disk_error(error: BaseException) -> bool:
    """Whether this machine's disk is full or read-only, so that the address is not to blame."""
    return isinstance(error, OSError) and error.errno in _LOCAL_DISK


def why(error: BaseException) -> str:
    """What went wrong, on one line, cut to a readable length."""
    cause = error.__cause__ if isinstance(error, FileNotFoundError) and error.__cause__ else error
    return " ".join(f"{type(cause).__name__}: {cause}".strip(": ").split())[:200]
