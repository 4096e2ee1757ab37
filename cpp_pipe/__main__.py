"""`python -m cpp_pipe` and the command `cpp-pipe`."""

import sys


def main() -> None:
    """Runs the command line."""
    if not {"--help", "--version"}.intersection(sys.argv):
        from .pipeline import threads

        threads.begin()
    from .pipeline.commands.app import main as run

    run()


if __name__ == "__main__":
    main()
