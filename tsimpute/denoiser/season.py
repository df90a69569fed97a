"""What the same phase of other seasons says of a missing cell."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

REACHES = (1 / 12, 1 / 6, 1 / 3, 2 / 3)  # of a season: candidates
NOTHING_NEAR = 1e6  # rows, where a feature has no given cell


@dataclass(frozen=True)
class Season:
    """How far the centre of a missing cell moves from the line to the window's usual value.

    By weight · (1 - exp(-distance / reach)), the distance being that to the nearest given cell: a
    line knows more than a season next to a reading, and less in the middle of a long gap.

    Attributes
    ----------
    period : int
        Rows in a season.
    weight : Tensor of float32, shape (K,)
        0 to 1; 0 where the season of a feature says nothing.
    reach : Tensor of float32, shape (K,)
        Rows, above 0.
    """

    period: int
    weight: Tensor
    reach: Tensor

    @classmethod
    def fit(
        cls,
        period: int,
        values: Tensor,
        line: Tensor,
        given_mask: Tensor,
        target_mask: Tensor,
        positions: Tensor | None = None,
    ) -> Season:
        """The weight and the reach with the least squared error on targets, feature by feature."""
        usual = seasonal_mean(values, line, given_mask, period, positions)
        distance = distance_to_given(given_mask, positions)
        error = torch.where(target_mask, values - line, 0.0)
        squares = error.square().sum((0, 1))
        reaches = [share * period for share in REACHES]
        weights, left = [], []
        for reach in reaches:
            move = torch.where(target_mask, (usual - line) * -torch.expm1(-distance / reach), 0.0)
            along, length = (error * move).sum((0, 1)), move.square().sum((0, 1))
            weight = (along / length.clamp(min=torch.finfo(values.dtype).tiny)).clamp(0, 1)
            weights.append(weight)
            left.append(squares - 2 * weight * along + weight**2 * length)
        best = torch.stack(left).argmin(0)
        weight = torch.stack(weights).gather(0, best[None])[0]
        return cls(period, weight.float(), torch.tensor(reaches)[best])

    def moved(
        self, values: Tensor, line: Tensor, given_mask: Tensor, positions: Tensor | None = None
    ) -> Tensor:
        """The line (B, L, K), moved towards the season where it is far from given cells."""
        usual = seasonal_mean(values, line, given_mask, self.period, positions)
        near = torch.exp(-distance_to_given(given_mask, positions) / self.reach)
        return line + (self.weight * (1 - near)).to(line.dtype) * (usual - line)

    def to(self, device: torch.device) -> Season:
        """The same on a device."""
        return Season(self.period, self.weight.to(device), self.reach.to(device))


def seasonal_mean(
    values: Tensor,
    line: Tensor,
    given_mask: Tensor,
    period: int,
    positions: Tensor | None = None,
) -> Tensor:
    """Mean of the window's given cells of the same phase, and the line where there are none.

    Parameters
    ----------
    values : Tensor of float, shape (B, L, K)
        Only read where `given_mask` is True.
    line : Tensor of float, shape (B, L, K)
    given_mask : Tensor of bool, shape (B, L, K)
    period : int
        Rows in a season.
    positions : Tensor of float, shape (B, L), optional
        Times of the rows in steps, rounded to whole ones; default: 0, 1, ….

    Returns
    -------
    Tensor, shape (B, L, K)
    """
    n, length, k = values.shape
    if positions is None:
        phase = torch.arange(length, device=values.device).expand(n, length) % period
    else:
        phase = positions.round().long() % period
    at = phase[..., None].expand(n, length, k)
    zeros = values.new_zeros(n, period, k)
    total = zeros.scatter_add(1, at, torch.where(given_mask, values, 0.0)).gather(1, at)
    count = zeros.scatter_add(1, at, given_mask.to(values.dtype)).gather(1, at)
    return torch.where(count > 0, total / count.clamp(min=1), line)


def distance_to_given(given_mask: Tensor, positions: Tensor | None = None) -> Tensor:
    """Steps to the nearest given cell of the same feature (B, L, K), 0 at given cells."""
    n, length, _ = given_mask.shape
    if positions is None:
        positions = torch.arange(length, device=given_mask.device).expand(n, length).float()
    at = positions[..., None].float().expand(given_mask.shape)
    before = torch.where(given_mask, at, -torch.inf).cummax(1).values
    after = torch.where(given_mask, at, torch.inf).flip(1).cummin(1).values.flip(1)
    return torch.minimum(at - before, after - at).clamp(max=NOTHING_NEAR)
