"""`python -m cpp_pipe` and the command `cpp-pipe`."""

import gc
import sys

_NEW_OBJECTS = 50_000
"""New objects until Python looks for garbage. Its own 700 cost a sixth of the CPU time of importing
torch and open_clip, whose objects all stay."""


def main() -> None:
    """Runs the command line."""
    gc.set_threshold(_NEW_OBJECTS)
    if not {"--help", "--version"}.intersection(sys.argv):
        from .pipeline import threads

        threads.begin()
    from .pipeline.commands.app import main as run

    run()


if __name__ == "__main__":
    main()
