"""Training in the processes of torchrun: the first makes the artifact, the others help."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

from ....store import ConfigError, StoreError
from ....store.errors import first_line

_LOST_PROCESS = re.compile(r"gloo|NCCL|ncclRemote|[Cc]onnection (closed|reset|refused)|peer")
"""Found in errors about a lost process that have no class of their own."""
_PATIENCE = timedelta(minutes=30)
"""How long a process waits for the others; the first one also writes the artifact."""


def rank() -> int:
    """The rank of this process; 0 without torchrun."""
    return _read_number("RANK", 0)


def size() -> int:
    """The number of processes; 1 without torchrun."""
    return _read_number("WORLD_SIZE", 1)


def is_on_one_machine() -> bool:
    """Whether all processes run on this machine."""
    return _read_number("LOCAL_WORLD_SIZE", size()) == size()


def _read_number(name: str, default: int) -> int:
    """A variable that torchrun sets; the default if torchrun did not start this process.

    Other programs set RANK, too, so it counts only if variables of torchrun are set.
    """
    variables = os.environ
    is_torchrun = "TORCHELASTIC_RUN_ID" in variables or (
        bool(variables.get("WORLD_SIZE")) and bool(variables.get("MASTER_ADDR"))
    )
    if not is_torchrun or name not in variables:
        return default
    if not variables[name].isdecimal():
        raise ConfigError(
            f"{name} in the environment must be a whole number, got {variables[name]!r}: unset it, "
            "or start the command by torchrun"
        )
    return int(variables[name])


def end_process(code: int) -> None:
    """Ends a process of torchrun at once; returns in any other.

    Python's own end would wait for no thread of gloo. One that still releases a tensor then needs a
    Python that is gone, and aborts the process.
    """
    try:
        if size() == 1:
            return
    except ConfigError:  # reported already: no group was joined
        return
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # the reader may be gone
            stream.flush()
    os._exit(code)


@contextmanager
def group(device: str) -> Iterator[str]:
    """Connects the processes, by NCCL on GPUs, else by gloo. Yields the device of this process.

    At the end each process waits for all others. StoreError if one of them is gone.
    """
    import torch
    import torch.distributed as dist

    is_cuda = device.startswith("cuda")
    if is_cuda:
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    with _lost_process_errors():
        dist.init_process_group("nccl" if is_cuda else "gloo", timeout=_PATIENCE)
        try:
            yield device
            dist.barrier()
        except BaseException:
            with suppress(RuntimeError):  # the first error says more
                dist.destroy_process_group()
            raise
        dist.destroy_process_group()


@contextmanager
def _lost_process_errors() -> Iterator[None]:
    """Turns torch's errors about a lost process into a StoreError of one line."""
    import torch.distributed as dist

    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and not _LOST_PROCESS.search(str(error)):
            raise
        raise StoreError(
            f"another process of this training was stopped or cannot be reached "
            f"({first_line(error)}): run the same command again, which continues from the last "
            "checkpoint"
        ) from error
