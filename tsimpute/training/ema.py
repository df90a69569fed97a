"""Exponential moving average of a network's weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """Moving average of the weights, with a decay that starts low.

    After n updates the decay is min(decay, (1 + n) / (10 + n)), so that the first, poor weights
    are soon forgotten.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.n_updates = 0
        self.weights = {name: p.detach().clone() for name, p in network.named_parameters()}

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move towards the network's present weights."""
        self.n_updates += 1
        decay = min(self.decay, (1 + self.n_updates) / (10 + self.n_updates))
        parameters = dict(network.named_parameters())
        averages = list(self.weights.values())
        current = [parameters[name].detach() for name in self.weights]
        torch._foreach_lerp_(averages, current, 1 - decay)

    @contextmanager
    def applied_to(self, network: nn.Module) -> Iterator[None]:
        """Put the averaged weights into the network for the length of a with-block."""
        own = copy_weights(network)
        load_weights(network, self.weights)
        try:
            yield
        finally:
            load_weights(network, own)


def copy_weights(network: nn.Module) -> dict[str, Tensor]:
    """Detached copy of every trainable weight."""
    return {name: p.detach().clone() for name, p in network.named_parameters()}


@torch.no_grad()
def load_weights(network: nn.Module, weights: dict[str, Tensor]) -> None:
    """Copy weights into the network in place."""
    for name, parameter in network.named_parameters():
        parameter.copy_(weights[name])
