"""The network on some cells of its windows only, as if the others did not exist.

What is done to each cell by itself is done to the visible ones alone, packed one after the other;
for attention they are laid in rows. Side information stays what it is at the cell's own place in
the window. So an evaluation costs less, with the same weights (MaskDM, Lei et al. 2023).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from tsimpute.denoiser.blocks import AxisTransformer, Side
from tsimpute.denoiser.context import NO_CONTEXT, Context
from tsimpute.denoiser.csdi import CSDIDenoiser
from tsimpute.denoiser.layout import AxisLayout


@dataclass(frozen=True)
class VisibleCells:
    """The visible cells of a batch, N of them, in the order in which a mask (B, L, K) takes them.

    Attributes
    ----------
    window, time, feature : Tensor of int64, shape (N,)
        Where each cell is.
    shape : tuple of int
        B, L and K.
    in_feature, in_row : AxisLayout
        Cells of one feature, and of one time, of a window.
    """

    window: Tensor
    time: Tensor
    feature: Tensor
    shape: tuple[int, int, int]
    in_feature: AxisLayout
    in_row: AxisLayout

    @classmethod
    def of(cls, visible_mask: Tensor) -> VisibleCells:
        """Cells of a mask of bool (B, L, K), at least one of them True."""
        b, length, k = visible_mask.shape
        window, time, feature = visible_mask.nonzero().unbind(1)
        in_feature = AxisLayout.of(window * k + feature)
        in_row = AxisLayout.of(window * length + time)
        return cls(window, time, feature, (b, length, k), in_feature, in_row)

    def __len__(self) -> int:
        return len(self.window)

    def by_window(self, code: Tensor) -> Tensor:
        """A vector a window (B, C), for each cell of it; (N, C)."""
        return functional.embedding(self.window, code)

    def over_time(self, layer: AxisTransformer, y: Tensor) -> Tensor:
        """Let the cells of a feature attend to each other."""
        return y if self.shape[1] == 1 else layer(y, self.in_feature.is_real, self.in_feature)

    def over_features(self, layer: AxisTransformer, y: Tensor) -> Tensor:
        """Let the cells of a row attend to each other."""
        return y if self.shape[2] == 1 else layer(y, self.in_row.is_real, self.in_row)

    def side(self, side: Side) -> Side:
        """Side information of whole windows, of each cell; `base` is (N, 2C)."""
        length = self.shape[1]
        if side.by_row is None:
            place = self.feature * length + self.time
            return Side(functional.embedding(place, side.base.flatten(0, 1)), side.mask_weight)
        place = self.window * length + self.time
        by_row = functional.embedding(place, side.by_row.flatten(0, 2))
        base = functional.embedding(self.feature, side.base[:, 0])
        return Side(base + by_row, side.mask_weight)


def noise_at_visible(
    network: CSDIDenoiser,
    x: Tensor,
    condition: Tensor,
    given_mask: Tensor,
    step: Tensor,
    cells: VisibleCells,
    features: Tensor | None = None,
    context: Context = NO_CONTEXT,
) -> Tensor:
    """Predict the noise in visible cells from visible cells.

    With every real cell visible these are the numbers of `CSDIDenoiser.forward`.

    Parameters
    ----------
    network : CSDIDenoiser
    x, condition : Tensor of float, shape (B, L, K)
        As in `CSDIDenoiser.forward`; only read in visible cells.
    given_mask : Tensor of bool, shape (B, L, K)
    step : Tensor of float, shape (B,)
    cells : VisibleCells
    features : Tensor of int64, shape (K,), optional
        Numbers of the windows' features among those that the network knows; None: all of them.
    context : Context, optional
        Of the windows.

    Returns
    -------
    Tensor of float, shape (N,)
        In the order of the cells.
    """
    at = (cells.window, cells.time, cells.feature)
    given = given_mask[at]
    h = torch.stack([condition[at], x[at] * ~given], dim=-1)  # (N, 2)
    positions = torch.arange(cells.shape[1], device=x.device, dtype=torch.float32)
    side = [cells.side(part) for part in network.project_side(positions, context, features)]
    trunk = network.through_blocks(h, given[:, None].to(x.dtype), step, side, cells)
    return network.read_noise(trunk)
