"""The device that does the work: the one that was named, or an error."""

import reprlib
from dataclasses import dataclass

from ..stages.contract import Stage
from ..store import ConfigError
from .wording import counted


def find_device(name: str) -> str:
    """The torch device of a name; `auto` is a CUDA GPU if there is one, else the CPU.

    Raises ConfigError for a device that this machine does not have.
    """
    import torch

    has = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not isinstance(name, str):
        raise ConfigError(f"the device must be a name such as cpu, got {reprlib.repr(name)}")
    if name == "auto":
        return "cuda" if has["cuda"] else "cpu"
    kind, colon, number = name.partition(":")
    if not has.get(kind, False):
        available = ", ".join(kind for kind, is_there in has.items() if is_there)
        raise ConfigError(f"--device {name!r} is not on this machine, which has {available}")
    count = torch.cuda.device_count() if kind == "cuda" else 1
    if colon and number not in map(str, range(count)):
        raise ConfigError(f"--device {name!r}: this machine has {counted(count, f'{kind} device')}")
    return name


def fitting_device(stage: Stage, device: str) -> str:
    """The device that makes a stage's parts: the CPU in place of a GPU that lacks float64."""
    return device if device != "mps" or stage.runs_on_mps else "cpu"


@dataclass(frozen=True, kw_only=True)
class Share:
    """What one of several processes of a machine works with."""

    device: str
    threads: int
    """Threads of torch, or processes that decode for a GPU."""


def share_out(workers: int, device: str, *, gpus: int, cores: int) -> tuple[Share, ...]:
    """A share of a machine for each of several processes: its GPUs in turn, its cores divided.

    `cuda` is any of the GPUs; all processes share a device that has a number or is not a GPU. Each
    process gets a core at least, so more processes than cores wait for one another.
    """
    return tuple(
        Share(
            device=f"cuda:{number % gpus}" if device == "cuda" and gpus else device,
            threads=max(1, cores // workers + (number < cores % workers)),
        )
        for number in range(workers)
    )


def count_gpus(device: str) -> int:
    """How many GPUs processes on a device divide among them: all, or none."""
    if device != "cuda":
        return 0
    import torch

    return torch.cuda.device_count()


def settle_on(device: str) -> None:
    """Makes a GPU this process' default, or pinned memory would use some of the first GPU."""
    if device.startswith("cuda:"):
        import torch

        torch.cuda.set_device(device)
