"""A line of progress on a terminal, drawn by rich: as many facts of a count as fit the window."""

from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from ..wording import columns_of, printable, wrap
from .counts import Snapshot, Summary, counted_unit, details_of, duration, share_of

_LEAST_BAR = 6
"""Characters of the shortest bar that is drawn."""


class LiveLine:
    """A line that is redrawn, and is wiped before anything else is printed."""

    every = 0.2

    def __init__(self, stream: TextIO, *, is_forced: bool = False) -> None:
        self._stream = stream
        self._is_forced = is_forced
        self._drawn: tuple[Progress, TaskID] | None = None

    def begin(self, snapshot: Snapshot) -> None:
        """Draws a count at once, since a step may take long before it advances."""
        self.show(snapshot)

    def show(self, snapshot: Snapshot) -> None:
        """Draws the count."""
        fields = {"total": snapshot.total or None, "completed": snapshot.done, "count": snapshot}
        if self._drawn is None:
            self._drawn = self._draw(snapshot)
        progress, task = self._drawn
        progress.update(task, **fields)

    def _draw(self, snapshot: Snapshot) -> tuple[Progress, TaskID]:
        console = Console(
            file=self._stream, force_terminal=True if self._is_forced else None, highlight=False
        )
        progress = Progress(
            TextColumn("{task.description}", table_column=_uncut(), markup=False),
            BarColumn(bar_width=None, table_column=Column(ratio=1)),
            _Facts(console),
            console=console,
            transient=True,
            expand=True,
            refresh_per_second=4,
            # Standard output may be a file; commands close the line before they print to it.
            redirect_stdout=False,
        )
        task = progress.add_task(snapshot.what, total=snapshot.total or None, count=snapshot)
        progress.start()
        return progress, task

    def end(self, snapshot: Snapshot) -> None:
        """Wipes the count."""
        self.close()

    def show_summary(self, summary: Summary) -> None:
        """Prints a table and what limits the stage."""
        self.close()
        self._print(summary.table())

    def message(self, line: str, *, is_error: bool = False) -> None:
        """Prints a message."""
        self.close()
        self._print(printable(f"cpp-pipe: {line}" if is_error else line))

    def close(self) -> None:
        """Wipes the line."""
        if self._drawn is not None:
            self._drawn[0].stop()
            self._drawn = None

    def _print(self, text: str) -> None:
        self._stream.write(wrap(text, columns_of(self._stream)) + "\n")
        self._stream.flush()


class _Facts(ProgressColumn):
    """The facts of a count that fit the line, the most important first."""

    def __init__(self, console: Console) -> None:
        super().__init__(table_column=_uncut())
        self._console = console

    def render(self, task: Task) -> Text:
        """The facts of the current count that fit the window's current width."""
        snapshot: Snapshot = task.fields["count"]
        room = self._console.width - len(task.description) - _LEAST_BAR - 2
        return Text(_join_fitting(_facts(snapshot, task.elapsed), room))


def _facts(snapshot: Snapshot, elapsed: float | None) -> list[str]:
    if not snapshot.done:
        since = f"{duration(elapsed)} so far"
        return [since] if snapshot.total < 2 else [_of(snapshot), since]
    facts = [f"{share_of(snapshot):.0%}", f"{duration(snapshot.seconds_left)} left"]
    facts += [_of(snapshot), f"{snapshot.per_second_now:,.1f}/s"]
    return facts + details_of(snapshot)


def _of(snapshot: Snapshot) -> str:
    about = "~" if snapshot.is_estimate else ""
    return f"{snapshot.done:,}/{about}{counted_unit(snapshot.total, snapshot.unit)}"


def _join_fitting(facts: list[str], room: int) -> str:
    """The first facts that fit, with two spaces between them."""
    line = ""
    for fact in facts:
        longer = f"{line}  {fact}" if line else fact
        if len(longer) > room:
            break
        line = longer
    return line


def _uncut() -> Column:
    return Column(no_wrap=True, overflow="ellipsis")
