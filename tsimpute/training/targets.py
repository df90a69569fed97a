"""Which observed cells a training window hides from the network (CSDI, Section 4.3)."""

from __future__ import annotations

import torch
from torch import Tensor

from tsimpute.errors import InputError

STRATEGIES = ("random", "mix", "historical")


def random_targets(observed_mask: Tensor, generator: torch.Generator) -> Tensor:
    """Hide a share r ~ U(0, 1) of each window's observed cells.

    Parameters
    ----------
    observed_mask : Tensor of bool, shape (B, L, K)
    generator : torch.Generator
        On the CPU, as the mask.

    Returns
    -------
    Tensor of bool, shape (B, L, K)
        The target cells, a subset of the observed ones.
    """
    flat = observed_mask.flatten(1)
    share = torch.rand(len(flat), 1, generator=generator)
    n_hidden = (flat.sum(1, keepdim=True) * share).round()
    ticket = torch.rand(flat.shape, generator=generator).masked_fill(~flat, 2.0)
    rank = ticket.argsort(1).argsort(1)
    return (rank < n_hidden).view_as(observed_mask)


def historical_targets(observed_mask: Tensor, patterns: Tensor) -> Tensor:
    """Hide what was missing in another window: observed here, missing there."""
    return observed_mask & ~patterns


def draw_targets(
    strategy: str, observed_mask: Tensor, patterns: Tensor, generator: torch.Generator
) -> Tensor:
    """Target cells by strategy: "random", "historical", or "mix" of both half and half.

    Parameters
    ----------
    patterns : Tensor of bool, shape (B, L, K)
        Observed cells of other windows, whose holes "historical" and "mix" lay over these.

    Raises
    ------
    InputError
        If the strategy is unknown.
    """
    if strategy not in STRATEGIES:
        raise InputError(f"target_strategy={strategy!r} is unknown; expected one of {STRATEGIES}")
    historical = historical_targets(observed_mask, patterns)
    if strategy == "historical":
        return historical
    drawn = random_targets(observed_mask, generator)
    if strategy == "random":
        return drawn
    use_random = torch.rand(len(observed_mask), 1, 1, generator=generator) < 0.5
    return torch.where(use_random, drawn, historical)
