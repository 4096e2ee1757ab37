"""All that needs a card, in one run of at most eight minutes on an H100 or H200.

    make gpu                                            # in the environment of `make`
    WHEELS=folder benchmarks/gpu.sh --logs folder       # on a machine without a network
    python -m benchmarks.gpu --parts training,graphs
    python -m benchmarks.gpu --device cpu --tiny        # the dry run

The tests marked `gpu`; a training step of 1,024 rows and features against plain products of
matrices, in float32, TF32 and bfloat16, and as CUDA graphs; 500 steps of the recipe for ImageNet;
`embed` with three models against the slower of encoder and decoding; FAISS; start, spectrum and
clusters of ten million made rows, or of as many as time, disk and memory allow.

Each part runs in processes of its own with a time limit. What a part found before it failed stays
in the table. The exit code is 1 if a part failed; a bar that is missed is only told.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from .card import Figure, Setup
from .measure import argument_parser, machine, parse_arguments

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 450.0
"""For all parts: eight minutes with what comes before and after."""
LOOK_S = 0.2
"""Between two looks at the figures of a part."""
LAST_LINES = 25
"""Of the log of a part that failed."""
LEAST_SECONDS = 5.0
"""A part with less time is not begun."""


class Part(NamedTuple):
    """A part of the run."""

    module: str
    """Of this folder; imported by the part's own process."""
    function: str
    """Takes a `Setup`, and yields figures as they are found."""
    seconds: float
    """The time limit."""


PARTS = {
    "tests": Part("card_tests", "marked_tests", 90),
    "training": Part("card_training", "training", 60),
    "precisions": Part("card_training", "precisions", 50),
    "graphs": Part("card_training", "graphs", 50),
    "imagenet": Part("card_training", "imagenet_steps", 80),
    "faiss": Part("card_rows", "search_library", 40),
    "embed": Part("card_embed", "embed", 170),
    "rows": Part("card_rows", "start_spectrum_assign", SECONDS),
}
"""In order: the last one takes the time that is left."""


@dataclass
class Outcome:
    """What became of a part."""

    failure: str = ""
    """Empty for a part that ran to its end."""
    seconds: float = 0.0
    figures: list[Figure] = field(default_factory=list)


def run_part(name: str, flags: argparse.Namespace, seconds: float) -> Outcome:
    """Runs a part in a process of its own, and prints its figures as they come."""
    outcome, began = Outcome(), time.monotonic()
    print(f"{name} (at most {seconds:.0f} s)", flush=True)
    with tempfile.TemporaryDirectory(prefix=f"cpp-pipe-{name}-", dir=flags.folder) as folder:
        figures, log = Path(folder) / "figures.jsonl", Path(folder) / "log.txt"
        figures.touch()
        scratch = Path(folder) / "scratch"
        scratch.mkdir()
        line = [sys.executable, "-m", "benchmarks.gpu", "--part", name, "--figures", str(figures)]
        line += ["--device", flags.device, "--seconds", str(seconds), "--folder", str(scratch)]
        line += ["--models", str(flags.models), *(["--tiny"] if flags.tiny else [])]
        with log.open("wb") as output:
            process = subprocess.Popen(
                line,
                cwd=ROOT,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            try:
                for figure in _follow(figures, process, seconds):
                    if flags.tiny:
                        figure = replace(figure, bar=None)  # tiny sizes reach no bar
                    outcome.figures.append(figure)
                    print(figure.row(), flush=True)
            finally:
                _end(process)
        outcome.seconds = time.monotonic() - began
        if process.returncode != 0:
            is_late = outcome.seconds >= seconds
            outcome.failure = (
                f"over its time limit of {seconds:.0f} s" if is_late else _last_words(log)
            )
            print(f"  FAILED: {outcome.failure}", flush=True)
            _tell_log(log)
        if flags.logs:
            flags.logs.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(log, flags.logs / f"{name}.txt")
    return outcome


def _environment() -> dict[str, str]:
    # The checkout's own folder `cpp_pipe` must not come before the installed package.
    paths = [os.environ.get("PYTHONPATH", ""), str(ROOT)]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
    }


def _follow(path: Path, process: "subprocess.Popen[bytes]", seconds: float) -> Iterator[Figure]:
    """The figures that a process writes, until it ends or its time is over."""
    ends = time.monotonic() + seconds
    with path.open(encoding="utf-8") as lines:
        is_over = False
        rest = ""
        while True:
            rest += lines.read()
            *whole, rest = rest.split("\n")
            yield from (Figure(**json.loads(line)) for line in whole)
            if is_over:
                return
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(LOOK_S)
            is_over = process.returncode is not None or time.monotonic() >= ends


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Ends a process and all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _last_words(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1][:200] if lines else "it said nothing"


def _tell_log(log: Path) -> None:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    for line in lines[-LAST_LINES:]:
        print(f"  | {line[:300]}", file=sys.stderr, flush=True)


def act_as_part(flags: argparse.Namespace) -> None:
    """What the process of a part does: writes a line for each figure."""
    import importlib

    from cpp_pipe.pipeline.device import set_default_device

    set_default_device(flags.device)
    part = PARTS[flags.part]
    setup = Setup(
        device=flags.device,
        is_tiny=flags.tiny,
        seconds=flags.seconds,
        folder=flags.folder,
        models=flags.models,
    )
    function: Callable[[Setup], Iterator[Figure]] = getattr(
        importlib.import_module(f".{part.module}", __package__), part.function
    )
    with flags.figures.open("a", encoding="utf-8") as file:
        for figure in function(setup):
            file.write(json.dumps(asdict(figure)) + "\n")
            file.flush()


def summary(outcomes: Mapping[str, Outcome], flags: argparse.Namespace) -> dict[str, Any]:
    """The line of JSON."""
    figures = [(name, figure) for name, outcome in outcomes.items() for figure in outcome.figures]
    bars = {f"{name}: {each.name}": each.is_met for name, each in figures if each.bar is not None}
    return {
        "device": flags.device,
        "machine": machine(),
        "tiny": flags.tiny,
        "failed": {name: each.failure for name, each in outcomes.items() if each.failure},
        "seconds": {name: round(outcome.seconds, 1) for name, outcome in outcomes.items()},
        "bars": bars,
        "figures": {
            name: {each.name: each.value for each in outcome.figures if each.value is not None}
            for name, outcome in outcomes.items()
        },
        "notes": {
            name: {each.name: each.note for each in outcome.figures if each.note}
            for name, outcome in outcomes.items()
        },
    }


def arguments() -> argparse.Namespace:
    """The arguments of the command line."""
    import torch

    from .embed import MOBILE

    parser = argument_parser(__doc__)
    has_gpu = torch.cuda.is_available()
    parser.add_argument("--device", default="cuda" if has_gpu else "cpu")
    parser.add_argument("--parts", default=",".join(PARTS), help="some of them, in this order")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for all parts together")
    parser.add_argument("--folder", type=Path, help="for made shards and stores; up to 30 GB")
    parser.add_argument("--logs", type=Path, help="a folder for what the parts print")
    parser.add_argument("--models", type=Path, default=MOBILE.parent, help="holds mnv2-clip")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--figures", type=Path, help=argparse.SUPPRESS)
    flags = parse_arguments(parser, seconds=240.0)
    if flags.device.startswith("cuda") and not has_gpu:
        sys.exit("no CUDA device is here: try --device cpu --tiny")
    if flags.device == "cpu" and not flags.tiny:
        sys.exit("these sizes take days on a CPU: add --tiny, or name a GPU with --device")
    unknown = [name for name in flags.parts.split(",") if name not in PARTS]
    if unknown:
        sys.exit(f"--parts: {unknown[0]!r} is not one of {', '.join(PARTS)}")
    return flags


def main() -> None:
    """Prints the table and the JSON line."""
    flags = arguments()
    if flags.part:
        act_as_part(flags)
        return
    ends = time.monotonic() + flags.seconds
    print(machine(), flush=True)
    outcomes: dict[str, Outcome] = {}
    for name in flags.parts.split(","):
        left = ends - time.monotonic()
        if left < LEAST_SECONDS:
            outcomes[name] = Outcome(failure="no time was left")
            print(f"{name}\n  FAILED: no time was left")
            continue
        # A machine that is busy with tests may be slow.
        most = left if flags.tiny else PARTS[name].seconds
        outcomes[name] = run_part(name, flags, min(left, most))
    failed = [name for name, outcome in outcomes.items() if outcome.failure]
    print(f"{len(outcomes) - len(failed)} parts done, {len(failed)} failed: {', '.join(failed)}")
    print(json.dumps(summary(outcomes, flags)))
    if failed:
        sys.exit(1)


def _stop(*_: Any) -> None:
    """Ends the run, and so the part that runs, which is a session of its own."""
    sys.exit("the run was ended")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _stop)
    main()
