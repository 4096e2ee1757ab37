"""Training in processes that torchrun started: the first makes the artifact, the others follow."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

from ....store import ConfigError, StoreError
from ....store.errors import first_line

_LOST = re.compile(r"gloo|NCCL|ncclRemote|[Cc]onnection (closed|reset|refused)|peer")
"""What errors say that have no class of their own."""
_PATIENCE = timedelta(minutes=30)
"""How long a process waits for the others, while the first one also writes the artifact."""


def rank() -> int:
    """The rank of this process; 0 without torchrun."""
    return _number("RANK", 0)


def size() -> int:
    """The number of processes; 1 without torchrun."""
    return _number("WORLD_SIZE", 1)


def is_on_one_machine() -> bool:
    """Whether all processes run on this machine."""
    return _number("LOCAL_WORLD_SIZE", size()) == size()


def _number(name: str, otherwise: int) -> int:
    """A variable of torchrun; others set RANK too, so it counts only beside torchrun's own."""
    given = os.environ
    is_torchrun = "TORCHELASTIC_RUN_ID" in given or (
        bool(given.get("WORLD_SIZE")) and bool(given.get("MASTER_ADDR"))
    )
    if not is_torchrun or name not in given:
        return otherwise
    if not given[name].isdecimal():
        raise ConfigError(
            f"{name} in the environment must be a whole number, got {given[name]!r}: unset it, or "
            "start the command by torchrun"
        )
    return int(given[name])


@contextmanager
def group(device: str) -> Iterator[str]:
    """Connects the processes, by NCCL on a GPU each, else by gloo. Yields this process' device.

    At the end each process waits for all others. StoreError where one of them is gone.
    """
    import torch
    import torch.distributed as dist

    is_cuda = device.startswith("cuda")
    if is_cuda:
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    with _losses_in_one_line():
        dist.init_process_group("nccl" if is_cuda else "gloo", timeout=_PATIENCE)
        try:
            yield device
            dist.barrier()
        except BaseException:
            with suppress(RuntimeError):  # what ended the work is what matters
                dist.destroy_process_group()
            raise
        dist.destroy_process_group()


@contextmanager
def _losses_in_one_line() -> Iterator[None]:
    """Turns what torch says where another process is gone into a StoreError."""
    import torch.distributed as dist

    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and not _LOST.search(str(error)):
            raise
        raise StoreError(
            f"another process of this training was stopped or cannot be reached "
            f"({first_line(error)}): run the same command again, which continues from the last "
            "checkpoint"
        ) from error
