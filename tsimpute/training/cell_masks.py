"""Which cells the network is run on in pre-training (MaskDM, Lei et al. 2023)."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor

from tsimpute.arguments import is_number
from tsimpute.errors import InputError

MASK_KINDS = ("block", "feature", "cell")
STRETCHES = 4  # of visible rows in a window, about: so that stretches are shorter at higher rates


@dataclass(frozen=True)
class Masking:
    """How `draw_visible` is to draw: its `kind` and its `rate`."""

    kind: str = "block"
    rate: float = 0.5

    def __post_init__(self) -> None:
        check_masking(self.kind, self.rate)


def check_masking(kind: Any, rate: Any) -> None:
    """Refuse what `draw_visible` cannot use.

    Raises
    ------
    InputError
        If the kind is unknown, or the rate does not lie between 0 and 1.
    """
    if kind not in MASK_KINDS:
        near = get_close_matches(str(kind), MASK_KINDS, n=1)
        proposal = f"; did you mean {near[0]!r}?" if near else ""
        raise InputError(
            f"mask_kind={kind!r} is unknown; expected one of {', '.join(map(repr, MASK_KINDS))}"
            f"{proposal}"
        )
    if not (is_number(rate) and 0 < rate < 1):
        raise InputError(
            f"mask_rate={rate!r} cannot be used; expected the share of the cells that is hidden, "
            f"between 0 and 1, both excluded, for example 0.5"
        )


def draw_visible(
    kind: str, rate: float, observed_mask: Tensor, generator: torch.Generator
) -> Tensor:
    """Draw the observed cells of each window that stay visible.

    Parameters
    ----------
    kind : {"block", "feature", "cell"}
        What is hidden: stretches of time, in all features; whole features; or single cells.
        Stretches are shorter at higher rates, as in the paper.
    rate : float
        Share that is hidden of the rows, of the features, or of the cells with any reading. The
        number is rounded up or down at random, alike in all windows, and so right on average.
    observed_mask : Tensor of bool, shape (B, L, K)
        False in missing cells and in padding.
    generator : torch.Generator
        On the CPU, as the mask.

    Returns
    -------
    Tensor of bool, shape (B, L, K)
        A subset of the observed cells, and at least one of a window that has any.

    Raises
    ------
    InputError
        If the kind is unknown, or the rate does not lie between 0 and 1.
    """
    check_masking(kind, rate)
    b, length, k = observed_mask.shape
    units = _units(kind, observed_mask)
    if kind == "block":
        ticket = _stretch_tickets(b, length, rate, generator)
        hidden = _lowest(ticket, units, rate, generator)[:, :, None]
    elif kind == "feature":
        ticket = torch.rand(b, k, generator=generator)
        hidden = _lowest(ticket, units, rate, generator)[:, None]
    else:
        ticket = torch.rand(b, length * k, generator=generator)
        hidden = _lowest(ticket, units, rate, generator).view(b, length, k)
    return observed_mask & ~hidden


def hidden_cells(masking: Masking, observed_mask: Tensor) -> float:
    """Number of cells of these windows (B, L, K) that `draw_visible` hides, on average.

    It is the rate, or all but one of n rows, features or cells, whichever is less.
    """
    n_units = _units(masking.kind, observed_mask).sum(1).clamp(min=1)
    share = (1 - 1 / n_units.double()).clamp(max=masking.rate)
    return float(share @ observed_mask.flatten(1).sum(1).double())


def _units(kind: str, observed_mask: Tensor) -> Tensor:
    """What is hidden or visible as a whole (B, U): rows, features or cells with any reading."""
    if kind == "cell":
        return observed_mask.flatten(1)
    return observed_mask.any(2 if kind == "block" else 1)


def _stretch_tickets(b: int, length: int, rate: float, generator: torch.Generator) -> Tensor:
    """One random number (B, L) for all rows of a stretch; the first stretch may be shorter."""
    size = max(1, round(length * (1 - rate) / STRETCHES))
    offset = torch.randint(size, (b, 1), generator=generator)
    stretch = (torch.arange(length) + offset) // size  # (B, L)
    return torch.rand(b, length // size + 2, generator=generator).gather(1, stretch)


def _lowest(ticket: Tensor, among: Tensor, rate: float, generator: torch.Generator) -> Tensor:
    """The share of those that are True in `among` with the lowest tickets, but not all; (B, U)."""
    n = among.sum(1, keepdim=True)
    n_hidden = (rate * n + torch.rand(1, generator=generator)).floor().minimum(n - 1)
    rank = ticket.masked_fill(~among, 2.0).argsort(dim=1, stable=True).argsort(1)
    return among & (rank < n_hidden)
