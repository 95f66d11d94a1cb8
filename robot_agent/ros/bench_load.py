"""Load beside a measurement: busy processes, and one that computes like training."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_BUSY = "while True: sum(range(100000))"
_TRAINING = """
import torch
torch.set_num_threads(1)
layers = [torch.nn.Linear(512, 512) for _ in range(6)]
net = torch.nn.Sequential(*layers)
optimizer = torch.optim.AdamW(net.parameters())
x = torch.randn(256, 512)
while True:
    optimizer.zero_grad(); net(x).square().mean().backward(); optimizer.step()
"""
PROGRAMS = {"idle": "", "cpu_load": _BUSY, "training": _TRAINING}
"""Condition to what its processes run."""


@contextmanager
def load(condition: str, count: int) -> Iterator[None]:
    """Run `count` processes of a condition's program meanwhile."""
    program = PROGRAMS[condition]
    children = [
        subprocess.Popen([sys.executable, "-c", program]) for _ in range(count if program else 0)
    ]
    try:
        yield
    finally:
        for child in children:
            child.kill()
            child.wait()
