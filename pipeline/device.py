"""Which device does the work: never chosen silently, never fallen back from."""

from dataclasses import dataclass

from ..store import ConfigError


def find_device(name: str) -> str:
    """A torch device that is there: `auto` is a CUDA GPU if one is there, else the CPU.

    Raises ConfigError for a device that is not there.
    """
    import torch

    is_there = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if name == "auto":
        return "cuda" if is_there["cuda"] else "cpu"
    kind, _, number = name.partition(":")
    if not is_there.get(kind, False):
        there = ", ".join(kind for kind, yes in is_there.items() if yes)
        raise ConfigError(f"--device {name!r} is not on this machine, which has {there}")
    if number and kind == "cuda" and not 0 <= int(number) < torch.cuda.device_count():
        raise ConfigError(
            f"--device {name!r}: this machine has {torch.cuda.device_count()} CUDA device(s)"
        )
    return name


@dataclass(frozen=True, kw_only=True)
class Share:
    """What one of some processes of a machine works with."""

    device: str
    threads: int
    """Of torch, or so many processes that decode for a GPU."""


def share_out(workers: int, device: str, *, gpus: int, cores: int) -> tuple[Share, ...]:
    """A share of a machine for each of some processes: its GPUs in turn, and its cores divided.

    `cuda` is any of the GPUs; a device that has a number, or is no GPU, is everyone's. Nobody goes
    without a core, so that more processes than cores wait for one another.
    """
    return tuple(
        Share(
            device=f"cuda:{number % gpus}" if device == "cuda" and gpus else device,
            threads=max(1, cores // workers + (number < cores % workers)),
        )
        for number in range(workers)
    )


def count_gpus(device: str) -> int:
    """How many GPUs processes on a device may share out among them: all, or none."""
    if device != "cuda":
        return 0
    import torch

    return torch.cuda.device_count()


def settle_on(device: str) -> None:
    """Makes a GPU this process' own: pinned memory would else take some of the first one."""
    if device.startswith("cuda:"):
        import torch

        torch.cuda.set_device(device)
