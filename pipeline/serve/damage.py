"""Reading files of the store that may have been damaged or removed since the run was opened."""

import contextlib
from collections.abc import Iterator

from ...store import Artifact, CppPipeError, StoreError
from ...store.errors import first_line


@contextlib.contextmanager
def reading(artifact: Artifact) -> Iterator[None]:
    """Turns errors of NumPy, Arrow and FAISS on a damaged file into a StoreError that names it."""
    try:
        yield
    except CppPipeError:
        raise
    except (OSError, ValueError, KeyError, EOFError, RuntimeError) as error:
        reason = first_line(error)
        raise StoreError(
            f"{artifact.kind.name} {artifact.version} cannot be read ({reason}): run `cpp-pipe "
            "verify` to find the damaged files"
        ) from error
