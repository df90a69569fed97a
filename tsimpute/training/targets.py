"""Which observed cells a training window hides from the network (CSDI, Section 4.3)."""

from __future__ import annotations

import torch
from torch import Tensor

from tsimpute.errors import InputError

STRATEGIES = ("random", "block", "mix", "historical", "last", "forecast")


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
    return observed_mask & in_block & _some_features(b, k, generator)


def last_targets(observed_mask: Tensor, generator: torch.Generator) -> Tensor:
    """Hide the last rows of a random share of each window's features, short stretches mostly.

    A feature's stretch ends at the window's last observed row and has n rows with probability
    about 1 / (n (n + 1)), up to half a window: the holes that filling from the past alone meets
    at the last row of a window.
    """
    b, length, k = observed_mask.shape
    longest = max(1, length // 2)
    steps = (1 / torch.rand(b, 1, k, generator=generator)).floor().clamp(max=longest)
    hidden = observed_mask & (rows_to_the_end(observed_mask)[..., None] < steps)
    return hidden & _some_features(b, k, generator)


def forecast_targets(observed_mask: Tensor, generator: torch.Generator) -> Tensor:
    """Hide the last rows of each window in every feature: from 1 to all but one row."""
    b, length, _ = observed_mask.shape
    longest = max(1, length - 1)
    steps = (torch.rand(b, 1, 1, generator=generator) * longest).floor() + 1
    return observed_mask & (rows_to_the_end(observed_mask)[..., None] < steps)


def rows_to_the_end(observed_mask: Tensor) -> Tensor:
    """Rows (B, L) from each row to the last one with an observed cell; negative after it."""
    place = torch.arange(observed_mask.shape[1])
    return torch.where(observed_mask.any(2), place, 0).amax(1, keepdim=True) - place


def _some_features(b: int, k: int, generator: torch.Generator) -> Tensor:
    """A random share of the features of each window, at least one; (B, 1, K)."""
    share, ticket = (
        torch.rand(b, 1, 1, generator=generator),
        torch.rand(b, 1, k, generator=generator),
    )
    return (ticket < share) | (ticket == ticket.amin(2, keepdim=True))


def historical_targets(observed_mask: Tensor, patterns: Tensor) -> Tensor:
    """Hide what was missing in another window: observed here, missing there."""
    return observed_mask & ~patterns


def draw_targets(
    strategy: str, observed_mask: Tensor, patterns: Tensor, generator: torch.Generator
) -> Tensor:
    """Target cells by strategy, for each window of a batch.

    "random"; "historical"; "mix": either of these two, half and half (CSDI); "block": random
    cells or a stretch of time, half and half, for data whose holes are outages; "last": random
    cells or the last rows of some features, half and half; "forecast": the last rows.

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
    if strategy == "forecast":
        return forecast_targets(observed_mask, generator)
    drawn = random_targets(observed_mask, generator)
    if strategy == "random":
        return drawn
    if strategy == "mix":
        other = historical_targets(observed_mask, patterns)
    else:
        other = (block_targets if strategy == "block" else last_targets)(observed_mask, generator)
    use_random = torch.rand(len(observed_mask), 1, 1, generator=generator) < 0.5
    return torch.where(use_random, drawn, other)
