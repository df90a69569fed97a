"""Straight lines between given cells, and how far away those are."""

from __future__ import annotations

import torch
from torch import Tensor

NOTHING_NEAR = 1e6  # steps, where a feature has no given cell


def linear_between(values: Tensor, given_mask: Tensor, positions: Tensor | None = None) -> Tensor:
    """Straight lines along time between given cells, level beyond the first and the last.

    Parameters
    ----------
    values : Tensor of float, shape (B, L, K)
        Only read where `given_mask` is True.
    given_mask : Tensor of bool, shape (B, L, K)
    positions : Tensor of float, shape (B, L), optional
        Increasing times of the rows; default: 0, 1, ….

    Returns
    -------
    Tensor, shape (B, L, K)
        0, the mean of standardised values, in a feature without any given cell.
    """
    length = values.shape[1]
    place = torch.arange(length, device=values.device)[None, :, None]
    before = torch.where(given_mask, place, -1).cummax(1).values
    after = torch.where(given_mask, place, length).flip(1).cummin(1).values.flip(1)
    known = torch.where(given_mask, values, 0.0)
    first, last = before.clamp(min=0), after.clamp(max=length - 1)
    left, right = known.gather(1, first), known.gather(1, last)
    if positions is None:
        share = (place - before) / (after - before).clamp(min=1)
    else:
        at = positions[..., None].expand_as(values)
        start, stop = at.gather(1, first), at.gather(1, last)
        share = torch.where(stop > start, (at - start) / (stop - start), 0.0)
    line = left + (right - left) * share.to(values.dtype)
    return torch.where(before < 0, right, torch.where(after >= length, left, line))


def distance_to_given(given_mask: Tensor, positions: Tensor | None = None) -> Tensor:
    """Steps to the nearest given cell of the same feature (B, L, K), 0 at given cells."""
    n, length, _ = given_mask.shape
    if positions is None:
        positions = torch.arange(length, device=given_mask.device).expand(n, length).float()
    at = positions[..., None].float().expand(given_mask.shape)
    before = torch.where(given_mask, at, -torch.inf).cummax(1).values
    after = torch.where(given_mask, at, torch.inf).flip(1).cummin(1).values.flip(1)
    return torch.minimum(at - before, after - at).clamp(max=NOTHING_NEAR)
