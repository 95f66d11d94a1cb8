"""The running mean of a network's weights: steadier than the weights of any one update."""

from typing import Any, Generic, TypeVar, cast

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from robot_agent.learn.early_stop import EarlyStop

Network = TypeVar("Network", bound=nn.Module)


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
