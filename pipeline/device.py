"""Which device does the work: never chosen silently, never fallen back from."""

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
