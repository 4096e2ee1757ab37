"""Reading files of the store that may have been damaged, or removed, since the run was opened."""

import contextlib
from collections.abc import Iterator

from ...store import Artifact, CppPipeError, StoreError


@contextlib.contextmanager
def reading(artifact: Artifact) -> Iterator[None]:
    """What NumPy, Arrow and FAISS say of a damaged file becomes a StoreError that names it."""
    try:
        yield
    except CppPipeError:
        raise
    except (OSError, ValueError, KeyError, EOFError, RuntimeError) as error:
        why = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise StoreError(
            f"{artifact.kind.name} {artifact.version} cannot be read ({why}): `cpp-pipe verify` "
            "names what is damaged"
        ) from error
