"""Which observed cells a training window hides from the network (CSDI, Section 4.3)."""

from __future__ import annotations

import torch
from torch import Tensor

from tsimpute.errors import InputError

STRATEGIES = ("random", "block", "mix", "historical")


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


def block_targets(observed_mask: Tensor, generator: torch.Generator) -> Tensor:
    """Hide one stretch of up to half a window in a random share of each window's features."""
    b, length, k = observed_mask.shape
    longest = max(1, length // 2)
    steps = (torch.rand(b, 1, k, generator=generator) * longest).floor() + 1
    start = (torch.rand(b, 1, k, generator=generator) * (length - steps + 1)).floor()
    place = torch.arange(length)[None, :, None]
    in_block = (place >= start) & (place < start + steps)
    share, ticket = (
        torch.rand(b, 1, 1, generator=generator),
        torch.rand(b, 1, k, generator=generator),
    )
    first = ticket == ticket.amin(2, keepdim=True)  # at least one feature
    return observed_mask & in_block & ((ticket < share) | first)


def historical_targets(observed_mask: Tensor, patterns: Tensor) -> Tensor:
    """Hide what was missing in another window: observed here, missing there."""
    return observed_mask & ~patterns


def draw_targets(
    strategy: str, observed_mask: Tensor, patterns: Tensor, generator: torch.Generator
) -> Tensor:
    """Target cells by strategy, for each window of a batch.

    "random"; "historical"; "mix": either of these two, half and half (CSDI); "block": random
    cells or a stretch of time, half and half, for data whose holes are outages.

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
    if strategy == "historical":
        return historical_targets(observed_mask, patterns)
    drawn = random_targets(observed_mask, generator)
    if strategy == "random":
        return drawn
    if strategy == "block":
        other = block_targets(observed_mask, generator)
    else:
        other = historical_targets(observed_mask, patterns)
    use_random = torch.rand(len(observed_mask), 1, 1, generator=generator) < 0.5
    return torch.where(use_random, drawn, other)
