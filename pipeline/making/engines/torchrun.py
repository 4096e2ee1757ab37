"""Training in processes that torchrun started: the first makes the artifact, the others follow."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

_PATIENCE = timedelta(minutes=30)
"""How long a process waits for the others, while the first one also writes the artifact."""


def rank() -> int:
    """The rank of this process; 0 without torchrun."""
    return int(os.environ.get("RANK", "0"))


def size() -> int:
    """The number of processes; 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_on_one_machine() -> bool:
    """Whether all processes run on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", size())) == size()


@contextmanager
def group(device: str) -> Iterator[str]:
    """Connects the processes, by NCCL on a GPU each, else by gloo. Yields this process' device.

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
