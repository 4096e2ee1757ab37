"""Commands as one types them, for the run and the store of another command."""

import os
import shlex

DEFAULT_STORE = "artifacts"
STORE_VARIABLE = "CPP_PIPE_STORE"
DEFAULT_RUN = "default"


def command_line(*words: str, run: str | None, store: str) -> str:
    """A command of cpp-pipe with the flags --run and --store, where it needs them.

    Left out are the default run, no run at all, and the store that a command takes by itself.
    """
    words = ("cpp-pipe", *words)
    if run not in (None, DEFAULT_RUN):
        words = (*words, "--run", str(run))
    if store != os.environ.get(STORE_VARIABLE, DEFAULT_STORE):
        words = (*words, "--store", store)
    return shlex.join(words)
