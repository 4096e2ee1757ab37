"""What a run depends on: five questions, each answered by a table over several seeds.

    python -m benchmarks.questions --question backbones     # CLIP, a small model, both at once
    python -m benchmarks.questions --question balance --set hidden=256      # γ, the training's
    python -m benchmarks.questions --question fine          # breeds against unlike classes
    python -m benchmarks.questions --question starts --seeds 10
    python -m benchmarks.questions --question growth --seeds 3 --keep growth

Sets and models are those in ../shared; no setting was changed after these figures. Clusters are
made at the true k by default settings, with the consensus that `auto` takes on photographs, except
for what the question varies; `--set` changes training. A cell is the mean ± the standard deviation
over seeds; the last line has every seed. `growth` takes the rows of made embeddings or of
`--source`, times the commands, and keeps in the folder `--keep` what it has measured: an
interrupted run continues.
"""

import argparse
import contextlib
import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from . import answers
from .answers import Asked, Row
from .growth import growth
from .measure import argument_parser, machine, parse_arguments
from .ours import SETS, parse_settings

ANSWERS = {
    "backbones": answers.backbones,
    "balance": answers.balance,
    "fine": answers.fine,
    "starts": answers.starts,
}
QUESTIONS = (*ANSWERS, "growth")


def _whole_numbers(text: str) -> list[int]:
    return [int(word) for word in text.split(",")]


def rows_of(question: str, flags: argparse.Namespace) -> Iterator[Row]:
    """The rows of a question's table."""
    if question == "growth":
        with contextlib.ExitStack() as held:
            temporary = tempfile.TemporaryDirectory(prefix="cpp-pipe-growth-")
            folder = flags.keep or Path(held.enter_context(temporary))
            yield from growth(folder, flags.rows, flags.seeds, flags.source)
        return
    asked = answers.tiny() if flags.tiny else Asked(settings=parse_settings(flags.set))
    # The images of this set alone are there, and breeds have names in Pets.
    fixed = {"backbones": SETS[:1], "fine": SETS[1:2] if flags.tiny else SETS}
    paths = flags.paths or fixed.get(question, asked.paths)
    yield from ANSWERS[question](replace(asked, paths=paths, seeds=flags.seeds))


def answer(question: str, flags: argparse.Namespace) -> dict[str, Any]:
    """Prints a question's table row by row; every figure of it."""
    table: dict[str, Any] = {}
    heading = ""
    for group, name, figures in rows_of(question, flags):
        row_heading = f"{'':<40}" + "".join(f"{measure:>16}" for measure in figures)
        if row_heading != heading:
            heading = row_heading
            print(f"\n{question}\n{heading}")
        cells = "".join(f"{_cell(list(values)):>16}" for values in figures.values())
        print(f"{group}, {name:<{38 - len(group)}}{cells}", flush=True)
        table.setdefault(group, {})[name] = {
            measure: {
                "mean": round(float(np.mean(values)), 4),
                "std": round(float(np.std(values)), 4),
                "seeds": [round(value, 4) for value in values],
            }
            for measure, values in figures.items()
            if values
        }
    return table


def _cell(values: list[float]) -> str:
    if not values:
        return ""
    mean, std = np.mean(values), np.std(values)
    return f"{mean:,.0f} ±{std:,.0f}" if mean > 10 else f"{mean:.3f} ±{std:.3f}"


def main() -> None:
    """Prints a table for each question, and the JSON line."""
    parser = argument_parser(__doc__)
    parser.add_argument("paths", nargs="*", type=Path, help="other .npz files of x and y")
    parser.add_argument("--question", choices=QUESTIONS, help="all of them if absent")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of training"
    )
    parser.add_argument("--rows", type=_whole_numbers, default=[1000, 10_000, 100_000])
    parser.add_argument("--source", type=Path, help="an .npz whose rows grow, not made ones")
    parser.add_argument("--keep", type=Path, help="the folder of what `growth` has measured")
    flags = parse_arguments(parser, seeds=2, rows=[200, 400])
    print(f"what a run depends on, {flags.seeds} seeds\n{machine()}", flush=True)
    if flags.set:
        print(f"training with {', '.join(flags.set)}: not the default settings")
    asked = [flags.question] if flags.question else QUESTIONS
    print(json.dumps({question: answer(question, flags) for question in asked}))


if __name__ == "__main__":
    main()
