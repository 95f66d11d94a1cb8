"""Training on more than one process, as torchrun starts them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch.distributed as dist


@contextmanager
def training_processes() -> Iterator[int]:
    """Join the processes of torchrun inside the block and yield this one's rank; alone, 0.

    Gradients are averaged by `fit`. All draw the same batch for everyone, with the same random
    numbers, and take rows of their own: two processes equal one with twice the batch.
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


def num_processes() -> int:
    """Return how many processes train together."""
    return 1 if is_alone() else dist.get_world_size()


def is_writer() -> bool:
    """Return whether this process writes the files of a run: the first one does."""
    return is_alone() or dist.get_rank() == 0


def own_rows(batch: int) -> slice:
    """Return which rows of a batch for all processes are this one's: every `num_processes`-th."""
    return slice(None) if is_alone() else slice(dist.get_rank(), batch, dist.get_world_size())


def wait_for_all() -> None:
    """Return when every process has come here."""
    if not is_alone():
        dist.barrier()
