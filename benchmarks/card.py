"""What each part of `benchmarks.gpu` is given, and what it reports."""

import time
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What a part works with."""

    device: str
    is_tiny: bool
    """Sizes at which every line runs in seconds on a CPU."""
    seconds: float
    """The time limit of the part."""
    folder: Path
    """An empty folder, which is removed with all that the part leaves there."""
    models: Path
    """A folder of models of our own; it need not be there."""
    began: float = field(default_factory=time.monotonic)

    @property
    def is_gpu(self) -> bool:
        """Whether the device is a GPU of CUDA."""
        return self.device.startswith("cuda")

    @property
    def seconds_left(self) -> float:
        """Until the time limit."""
        return self.began + self.seconds - time.monotonic()


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A line of the table: a number, or why there is none."""

    name: str
    value: float | None = None
    unit: str = ""
    bar: float | None = None
    """The least that is asked for."""
    note: str = ""

    @property
    def is_met(self) -> bool | None:
        """Whether the bar is reached; None without a bar or a number."""
        return None if self.bar is None or self.value is None else self.value >= self.bar

    def row(self) -> str:
        """The line."""
        number = "" if self.value is None else f"{self.value:,.4g} {self.unit}"
        bar = "" if self.bar is None else f"bar {self.bar:g}: "
        verdict = {None: "", True: "met", False: "MISSED"}[self.is_met]
        told = "; ".join(filter(None, (bar + verdict if verdict else "", self.note)))
        return f"  {self.name:<34} {number:>20}  {told}".rstrip()
