"""`python -m cpp_pipe` and the command `cpp-pipe`."""


def main() -> None:
    """Runs the command line."""
    from .pipeline.commands.app import main as run

    run()


if __name__ == "__main__":
    main()
