"""Why a run cannot be opened, and what to do about it."""

import reprlib
from collections.abc import Sequence

from ..store import Store


def explain_no_run(store: Store, name: object, names: Sequence[str]) -> str:
    """What is missing: the store, all runs of it, or the one of this name.

    `names` are the runs that the store has.
    """
    if not names and not store.exists:
        return f"there is no store {store.root}: name another, or `cpp-pipe embed` begins one"
    if not names:
        return f"the store {store.root} has no run yet: `cpp-pipe embed` begins one"
    return (
        f"the store {store.root} has no run {reprlib.repr(name)}: name one of its runs "
        f"({', '.join(names)}), or `cpp-pipe embed` begins another"
    )
