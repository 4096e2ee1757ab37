"""Progress in a notebook: a bar below the cell, and messages in the cell's output."""

import html
import importlib
import sys
from typing import Any

from .counts import Snapshot, Summary, line_of
from .displays import Messages


def is_in_notebook() -> bool:
    """Whether this process is a Jupyter kernel; IPython in a terminal is not."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and hasattr(shell, "kernel")


class NotebookLine(Messages):
    """A bar with its count, which is wiped when the count ends."""

    every = 0.5

    def __init__(self) -> None:
        # Notebooks show standard error as if it were a fault.
        super().__init__(sys.stdout)
        self._handle: Any = None

    def begin(self, snapshot: Snapshot) -> None:
        """Draws a count at once, since a step may take long before it advances."""
        self.show(snapshot)

    def show(self, snapshot: Snapshot) -> None:
        """Draws the count."""
        line = line_of(snapshot)
        bar = f'<progress value="{snapshot.done}" max="{snapshot.total or 1}"></progress>'
        bundle = {"text/plain": line, "text/html": f"{bar} {html.escape(line)}"}
        if self._handle is None:
            display = importlib.import_module("IPython.display")
            self._handle = display.DisplayHandle()
            self._handle.display(bundle, raw=True)
        else:
            self._handle.update(bundle, raw=True)

    def end(self, snapshot: Snapshot) -> None:
        """Wipes the count."""
        self.close()

    def show_summary(self, summary: Summary) -> None:
        """Prints a table and what limits the stage."""
        for line in summary.table().splitlines():
            self.write(line)

    def close(self) -> None:
        """Wipes the count; the next one is drawn below the output so far."""
        if self._handle is not None:
            self._handle.update({"text/plain": "", "text/html": ""}, raw=True)
            self._handle = None
