"""Where a missing cell is expected to be, before the diffusion says how far from it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from tsimpute.denoiser.lines import linear_between
from tsimpute.denoiser.season import Season
from tsimpute.errors import InputError

ANCHORS = ("linear", "local", "none")
SMALLEST_SCALE = 1e-3  # of a standard deviation: a feature that lines explain perfectly


class Frame(NamedTuple):
    """How one batch of windows is shown to the network.

    What is diffused is (value - centre) / scale; `shown` is the condition that the network
    reads; both are (B, L, K).
    """

    centre: Tensor
    shown: Tensor


class AnchorPlan(NamedTuple):
    """Which anchor is to be fitted, and the rows in the season that its lines follow, if any."""

    kind: str
    period: int | None = None


@dataclass(frozen=True)
class Anchor:
    """Centre and scale of what is diffused.

    With kind "none" that is the standardised value itself, as in CSDI. With "linear" it is the
    distance from the straight line between the neighbouring given cells, in units of `scale`;
    the network is also shown the line, as PriSTI (Liu et al., ICDE 2023) does. A smooth series
    then needs no training to be interpolated, and a trend no training to be followed. "local"
    also takes each window's own level out of what the network is shown, in units of the usual
    spread within a window: for series whose level wanders much further than they move within a
    window; the network then does not know the absolute level.

    Attributes
    ----------
    kind : {"linear", "local", "none"}
    scale : Tensor of float32, shape (K,)
        Root mean square of that distance on training data, by feature; 1 for "none".
    spread : Tensor of float32, shape (K,)
        Root mean square distance of the line from its window's level; 1 but for "local".
    season : Season, optional
        Bends the line, far from given cells, to what the window holds at the same phase.
    """

    kind: str
    scale: Tensor
    spread: Tensor
    season: Season | None = None

    def __post_init__(self) -> None:
        if self.kind not in ANCHORS:
            raise InputError(f"anchor={self.kind!r} is unknown; expected one of {ANCHORS}")

    @classmethod
    def none(cls, n_features: int) -> Anchor:
        """Values are diffused as they are."""
        return cls("none", torch.ones(n_features), torch.ones(n_features))

    @classmethod
    def fit(
        cls,
        plan: AnchorPlan,
        values: Tensor,
        given_mask: Tensor,
        target_mask: Tensor,
        is_real: Tensor | None = None,
        positions: Tensor | None = None,
    ) -> Anchor:
        """Scale from training windows (N, L, K) with some of their observed cells hidden."""
        ones = torch.ones(values.shape[-1])
        if plan.kind == "none":
            return cls(plan.kind, ones, ones)
        season = None
        if plan.period is not None:
            line = linear_between(values, given_mask, positions)
            cells = (values, line, given_mask, target_mask, positions)
            season = Season.fit(plan.period, *cells)
        bare = cls(plan.kind, ones, ones, season)
        frame = bare.frame(values, given_mask, is_real, positions)
        away = torch.where(target_mask, values - frame.centre, 0.0).square().sum((0, 1))
        n_cells = target_mask.sum((0, 1))
        scale = (away / n_cells.clamp(min=1)).sqrt().clamp(min=SMALLEST_SCALE)
        scale = torch.where(n_cells > 0, scale, ones)
        if plan.kind != "local":
            return replace(bare, scale=scale)
        shown = frame.shown.flatten(0, 1) if is_real is None else frame.shown[is_real]
        spread = shown.square().mean(0).sqrt().clamp(min=SMALLEST_SCALE)
        return replace(bare, scale=scale, spread=spread)

    def frame(
        self,
        values: Tensor,
        given_mask: Tensor,
        is_real: Tensor | None = None,
        positions: Tensor | None = None,
    ) -> Frame:
        """Frame of windows (B, L, K), from their given cells alone; padding rows do not count.

        Rows are one step apart, or lie at positions (B, L).
        """
        if self.kind == "none":
            known = values * given_mask
            return Frame(torch.zeros_like(known), known)
        line = linear_between(values, given_mask, positions)
        if self.season is not None:
            line = self.season.moved(values, line, given_mask, positions)
        if self.kind != "local":
            return Frame(line, line)
        rows = torch.ones_like(line[..., :1]) if is_real is None else is_real[..., None]
        level = (line * rows).sum(1, keepdim=True) / rows.sum(1, keepdim=True)
        return Frame(line, (line - level) / self.spread)

    def to(self, device: torch.device) -> Anchor:
        """The same anchor on a device."""
        season = None if self.season is None else self.season.to(device)
        return Anchor(self.kind, self.scale.to(device), self.spread.to(device), season)
