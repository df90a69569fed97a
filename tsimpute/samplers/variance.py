"""Reverse variance: how much of Var[x_0 | x] the sampler is told, one idea a function.

Each returns the variance of the clean values given the state, Var0. The sampler turns it into
the noise of its step, so that no variance ever needs a sampler of its own.
"""

from __future__ import annotations

from torch import Tensor

from tsimpute.diffusion.schedule import TimeGrid


def fixed(grid: TimeGrid, position: int, noise: Tensor) -> float:
    """Var0 = 0: the reverse step has the posterior variance beta-tilde (Ho et al. 2020)."""
    return 0.0
