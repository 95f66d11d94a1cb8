"""Means of weights: over the updates of a training, and between its end and its beginning."""

from typing import Any, Generic, TypeVar, cast

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from robot_agent.learn.early_stop import EarlyStop

Network = TypeVar("Network", bound=nn.Module)


@torch.no_grad()
def between(before: nn.Module, tuned: nn.Module, way: float) -> None:
    """Move the weights of `tuned` to `way` of the way from those of `before`, in place.

    Part of the way, a new scene gains about as much as at its end, and old ones lose less.

    Source: Wortsman et al. 2022, Robust fine-tuning of zero-shot models, section 3,
    arXiv 2109.01903.
    """
    for new, old in zip(tuned.parameters(), before.parameters(), strict=True):
        new.copy_(torch.lerp(old.to(new), new, way))


class Average(nn.Module, Generic[Network]):
    """Exponential mean (EMA) over the updates; a module, so that a checkpoint keeps it."""

    def __init__(self, network: Network, decay: float) -> None:
        """Begin with the weights of `network` and follow it."""
        super().__init__()
        average: Any = get_ema_multi_avg_fn(decay)
        self.model = AveragedModel(network, multi_avg_fn=average)
        self._followed, self._step = (network,), 0

    @property
    def network(self) -> Network:
        """The network with the mean weights."""
        return cast("Network", self.model.module)

    def follow(self, step: int) -> None:
        """Take in the weights after `step` updates, once, however often it is called."""
        if step > self._step:
            self.model.update_parameters(self._followed[0])
            self._step = step

    def end(self, early_stop: EarlyStop | None) -> Network:
        """Return the mean with the last update, or the best one where early stop has put it."""
        if early_stop is None:
            self.follow(self._step + 1)
        return self.network
