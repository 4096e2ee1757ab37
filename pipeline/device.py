"""Finds the device for the work, and divides a machine among processes."""

import reprlib
from dataclasses import dataclass

from ..stages.contract import Stage
from ..store import ConfigError
from .wording import counted


def find_device(name: str) -> str:
    """The torch device of a name; `auto` is a CUDA GPU if there is one, else the CPU.

    ConfigError for a device that this machine does not have.
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
    """The device that makes a stage's parts: the CPU if the GPU lacks float64 and it needs that."""
    return device if device != "mps" or stage.runs_on_mps else "cpu"


@dataclass(frozen=True, kw_only=True)
class Share:
    """The share of a machine for one of several processes."""

    device: str
    threads: int
    """Threads of torch, or processes that decode for a GPU."""


def divide_machine(workers: int, device: str, *, gpus: int, cores: int) -> tuple[Share, ...]:
    """Divides a machine among processes: its GPUs in turn, its cores equally.

    `cuda` stands for all GPUs; a device with a number, or that is no GPU, is shared by all
    processes. Each process gets at least one core, so more processes than cores wait for one
    another.
    """
    return tuple(
        Share(
            device=f"cuda:{number % gpus}" if device == "cuda" and gpus else device,
            threads=max(1, cores // workers + (number < cores % workers)),
        )
        for number in range(workers)
    )


def count_gpus(device: str) -> int:
    """The number of GPUs to divide among processes: all of them for `cuda`, else 0."""
    if device != "cuda":
        return 0
    import torch

    return torch.cuda.device_count()


def set_default_device(device: str) -> None:
    """Makes a GPU the default of this process, or pinned memory would use some of the first GPU."""
    if device.startswith("cuda:"):
        import torch

        torch.cuda.set_device(device)
