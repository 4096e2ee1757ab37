"""Commands as a user types them, with the run and the store of another command."""

import os
import re
import shlex
import subprocess

DEFAULT_STORE = "artifacts"
STORE_VARIABLE = "CPP_PIPE_STORE"
DEFAULT_RUN = "default"

_WITHOUT_STORE = ("doctor", "fetch", "pack")
_WITHOUT_RUN = ("compare", "demo", "gc", "reproduce", "verify")
"""Commands without --store, and those without --run."""


def command_line(*words: str, run: str | None, store: str) -> str:
    """A command of cpp-pipe, with --run and --store where it needs them.

    It needs neither for the default run and for the store that commands take without --store.
    """
    every = ("cpp-pipe", *words, *_flags(run, store))
    return subprocess.list2cmdline(every) if os.name == "nt" else shlex.join(every)


def name_run(text: str, *, run: str | None, store: str) -> str:
    """A message in which the commands, in backticks, get the flags of a run and a store.

    Commands that have one of these flags, or end in a flag without a value, stay as they are.
    """

    def complete(match: re.Match[str]) -> str:
        command, rest = match[1], match[2]
        words = rest.split()
        is_open = (bool(words) and words[-1].startswith("--")) or "..." in rest
        if command in _WITHOUT_STORE or is_open or "--run" in words or "--store" in words:
            return match[0]
        flags = _flags(None if command in _WITHOUT_RUN else run, store)
        return f"`{' '.join(['cpp-pipe', command, *words, shlex.join(flags)]).rstrip()}`"

    return re.sub(r"`cpp-pipe ([a-z][a-z-]*)([^`]*)`", complete, text)


def _flags(run: str | None, store: str) -> list[str]:
    named = [] if run in (None, DEFAULT_RUN) else ["--run", str(run)]
    is_usual = store == os.environ.get(STORE_VARIABLE, DEFAULT_STORE)
    return named if is_usual else [*named, "--store", store]
