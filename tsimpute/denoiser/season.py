"""What the same phase of other seasons says of a missing cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor

from tsimpute.denoiser.lines import distance_to_given, linear_between

REACHES = (1 / 12, 1 / 6, 1 / 3, 2 / 3)  # of a season: candidates
CARRIES = (0.0, 0.5, 1.0)
SMOOTHED = 25  # phases a season: up to here each is for itself, and more are smoothed to as many
PARTS = ("weight", "reach", "carry")


@dataclass(frozen=True)
class Season:
    """How far the centre of a missing cell moves from the line to what its season lets expect.

    By weight · (1 - exp(-distance / reach)), the distance being that to the nearest given cell: a
    line knows more than a season next to a reading, and less in the middle of a long gap. What is
    expected is the mean of the window's given cells of the same phase, and by `carry` what lies
    between seasons: the window's trend, and where the cells around a gap lie.

    Attributes
    ----------
    period : int
        Rows in a season.
    weight : Tensor of float32, shape (K,)
        0 to 1; 0 where the season of a feature says nothing.
    reach : Tensor of float32, shape (K,)
        Rows, above 0.
    carry : Tensor of float32, shape (K,)
        0 where only the season counts, to 1 where the level wanders from season to season.
    """

    period: int
    weight: Tensor
    reach: Tensor
    carry: Tensor

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
        """What leaves the least squared error on targets, feature by feature."""
        distance = distance_to_given(given_mask, positions)
        error = torch.where(target_mask, values - line, 0.0)
        tried = [(share * period, carry) for share, carry in product(REACHES, CARRIES)]
        wanted = {
            carry: torch.where(
                target_mask, expected(values, given_mask, period, carry, positions) - line, 0
            )
            for carry in CARRIES
        }
        weights, left = [], []
        for reach, carry in tried:
            move = -torch.expm1(-distance / reach) * wanted[carry]
            along, length = (error * move).sum((0, 1)), move.square().sum((0, 1))
            weight = (along / length.clamp(min=torch.finfo(values.dtype).tiny)).clamp(0, 1)
            weights.append(weight)
            left.append(weight**2 * length - 2 * weight * along)  # and what was there before
        best = torch.stack(left).argmin(0)
        weight = torch.stack(weights).gather(0, best[None])[0]
        reach, carry = torch.tensor(tried)[best].T
        return cls(period, weight.float(), reach, carry)

    def moved(
        self, values: Tensor, line: Tensor, given_mask: Tensor, positions: Tensor | None = None
    ) -> Tensor:
        """The line (B, L, K), moved towards the season where it is far from given cells."""
        there = expected(values, given_mask, self.period, self.carry, positions)
        far = -torch.expm1(-distance_to_given(given_mask, positions) / self.reach)
        moved: Tensor = line + self.weight * far * (there - line)
        return moved.to(line.dtype)

    def to(self, device: torch.device) -> Season:
        """The same on a device."""
        return Season(self.period, *(getattr(self, name).to(device) for name in PARTS))

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for a file."""
        return {name: getattr(self, name).tolist() for name in PARTS} | {"period": self.period}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Season:
        """The season that `to_dict` described."""
        return cls(stored["period"], *(torch.tensor(stored[name]) for name in PARTS))


def expected(
    values: Tensor,
    given_mask: Tensor,
    period: int,
    carry: Tensor | float = 0.0,
    positions: Tensor | None = None,
) -> Tensor:
    """What a window's given cells of the same phase let expect.

    With carry 0 that is their mean, or the line between the means around it for a phase without
    any. With carry 1 they are compared without the window's trend, and the trend is added again,
    and the line through what is left of the given cells.

    Parameters
    ----------
    values : Tensor of float, shape (B, L, K)
        Only read where `given_mask` is True.
    given_mask : Tensor of bool, shape (B, L, K)
    period : int
        Rows in a season.
    carry : Tensor of float, shape (K,), or float, default=0
        0 to 1.
    positions : Tensor of float, shape (B, L), optional
        Times of the rows in steps, rounded to whole ones for the phase; default: 0, 1, ….

    Returns
    -------
    Tensor, shape (B, L, K)
    """
    n, length, _ = values.shape
    if positions is None:
        positions = torch.arange(length, device=values.device).expand(n, length).float()
    phase = positions.round().long() % period
    at = (positions - positions[:, :1]).to(values.dtype)[..., None].expand(values.shape)
    trend = carry * seasonal_slope(values, at, given_mask, phase, period) * at
    mean, weight = mean_by_phase(values - trend, given_mask, phase, period, period // SMOOTHED)
    usual = _at_rows(_around(mean, weight > 0), phase)
    above = linear_between(values - trend - usual, given_mask, positions)
    return trend + usual + carry * above


def seasonal_slope(
    values: Tensor, at: Tensor, given_mask: Tensor, phase: Tensor, period: int
) -> Tensor:
    """Slope of each window and feature (B, 1, K), from cells of the same phase alone.

    Least squares with a level of its own for each phase, which a season cannot bias, drawn to 0
    where few cells tell of it.
    """
    means = (mean_by_phase(part, given_mask, phase, period)[0] for part in (values, at))
    away = [part - _at_rows(mean, phase) for part, mean in zip((values, at), means, strict=True)]
    rise, run = (torch.where(given_mask, part, 0.0) for part in away)
    slope: Tensor = (rise * run).sum(1, keepdim=True)
    return slope / (run.square().sum(1, keepdim=True) + period**2)


def mean_by_phase(
    values: Tensor, given_mask: Tensor, phase: Tensor, period: int, reach: int = 0
) -> tuple[Tensor, Tensor]:
    """Mean of the given cells of each phase (B, period, K), 0 without any, and their weight.

    Phases less than `reach` + 1 away count as well, the less the further away.
    """
    n, _, k = values.shape
    place = phase[..., None].expand(values.shape)
    zeros = values.new_zeros(n, period, k)
    total = _spread(zeros.scatter_add(1, place, torch.where(given_mask, values, 0.0)), reach)
    weight = _spread(zeros.scatter_add(1, place, given_mask.to(values.dtype)), reach)
    return total / weight.clamp(min=1), weight  # a weight is 0, or at least 1


def _spread(sums: Tensor, reach: int) -> Tensor:
    """Sums (B, period, K) with those of the neighbouring phases, around the season."""
    shares = ((reach + 1 - abs(by), by) for by in range(-reach, reach + 1))
    return torch.stack([share * sums.roll(by, 1) for share, by in shares]).sum(0)


def _around(mean: Tensor, known: Tensor) -> Tensor:
    """Means (B, period, K), those that are not known on the line between the next, all around."""
    period = mean.shape[1]
    thrice = linear_between(mean.repeat(1, 3, 1), known.repeat(1, 3, 1))
    return thrice[:, period : 2 * period]


def _at_rows(mean: Tensor, phase: Tensor) -> Tensor:
    """What belongs to the phase of each row (B, L, K)."""
    return mean.gather(1, phase[..., None].expand(*phase.shape, mean.shape[-1]))
