"""Beside busy programs: the time of real commands with our threads, with one, and with spinning.

The commands are those of a user: `import` of made rows, then every step to an assignment. They run
alone and beside processes that use a processor each. The bar: beside them, our choice of threads
takes at most 1.5 times as long as one thread.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from .measure import argument_parser, machine, parse_arguments

BAR = 1.5
BUSY = 2
"""Processes beside the commands."""

_SPIN = "while True: pass"
_VARIABLES = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
CHOICES: Mapping[str, Mapping[str, str]] = {
    "ours": {},
    "one thread": {"OMP_NUM_THREADS": "1"},
    "spinning": {"OMP_WAIT_POLICY": "ACTIVE"},
}
"""What the environment says for each choice; without a word of it, the program chooses."""


@contextlib.contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Processes that use a processor each, as long as the block lasts."""
    processes = [subprocess.Popen([sys.executable, "-c", _SPIN]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def write_rows(path: Path, rows: int, width: int, groups: int) -> None:
    """Rows around random centres, as float32."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(groups, width))
    x = centres[rng.integers(0, groups, rows)] + rng.normal(size=(rows, width))
    np.save(path, x.astype(np.float32))


def seconds_of_commands(rows: Path, last: Sequence[str], variables: Mapping[str, str]) -> float:
    """The time from the rows to the last command's end, in processes of their own."""
    environment = {name: value for name, value in os.environ.items() if name not in _VARIABLES}
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as store:
        for words in (["import", str(rows), "--model", "ViT-B-32"], last):
            subprocess.run(
                [sys.executable, "-m", "cpp_pipe", *words, "--store", store],
                env={**environment, **variables},
                check=True,
                capture_output=True,
            )
    return time.monotonic() - began


def main() -> None:
    """Prints a table, then its figures as one line of JSON."""
    parser = argument_parser(__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=3)
    options = parse_arguments(parser, rows=300, width=16, repeats=1)
    rows, width, repeats = options.rows, options.width, options.repeats
    groups = min(100, rows // 30)
    last, choices = ["assign", "--k", str(groups)], dict(CHOICES)
    if options.tiny:
        last = ["verify"]
        del choices["spinning"]
    seconds: dict[str, dict[str, float]] = {}
    print(f"{machine()}; {rows:,} rows of {width} numbers, {groups} clusters")
    print(f"{'':<18}" + "".join(f"{choice:>14}" for choice in choices))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.npy"
        write_rows(path, rows, width, groups)
        for place, count in (("alone", 0), (f"beside {BUSY} busy", BUSY)):
            with busy_processes(count):
                # In turn, so that what else the machine does is shared by all choices.
                times = [
                    {name: seconds_of_commands(path, last, choices[name]) for name in choices}
                    for _ in range(repeats)
                ]
            seconds[place] = {name: min(one[name] for one in times) for name in choices}
            print(f"{place:<18}" + "".join(f"{seconds[place][name]:>12.1f} s" for name in choices))
    ratio = seconds[place]["ours"] / seconds[place]["one thread"]
    verdict = "held" if ratio <= BAR else "not held"
    print(f"beside {BUSY} busy processes, ours takes {ratio:.2f} times one thread: {verdict}")
    print(json.dumps({"rows": rows, "seconds": seconds, "ratio": round(ratio, 3), "bar": BAR}))


if __name__ == "__main__":
    main()
