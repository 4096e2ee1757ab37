"""One training over the processes that torchrun started: the first makes, the others follow."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

_PATIENCE = timedelta(minutes=30)
"""How long a process waits for the others; the first one also writes what it made."""


def rank() -> int:
    """This process' number; 0 where torchrun started nothing."""
    return int(os.environ.get("RANK", "0"))


def size() -> int:
    """How many processes there are; 1 where torchrun started nothing."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_on_one_machine() -> bool:
    """Whether all of the processes are on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", size())) == size()


@contextmanager
def group(device: str) -> Iterator[str]:
    """Joins the processes: NCCL on GPUs, one for each, else gloo. Yields this one's device.

    At the end each process waits for all others.
    """
    import torch
    import torch.distributed as dist

    is_cuda = device.startswith("cuda")
    if is_cuda:
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if is_cuda else "gloo", timeout=_PATIENCE)
    try:
        yield device
        dist.barrier()
    finally:
        dist.destroy_process_group()
