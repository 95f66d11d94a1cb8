"""Training on more than one process, as torchrun starts them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch.distributed as dist


@contextmanager
def training_processes() -> Iterator[int]:
    """Join the processes of torchrun inside the block and yield this one's rank; alone, 0.

    Gradients are averaged by `fit`; each process draws batches of its own.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield 0
        return
    dist.init_process_group("gloo")
    try:
        yield dist.get_rank()
    finally:
        dist.destroy_process_group()


def is_alone() -> bool:
    """Return whether no other process trains along."""
    return not (dist.is_available() and dist.is_initialized())
